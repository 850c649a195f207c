"""An integrator follows the account's events by number: all of them, once each, in their order."""

import asyncio

import pytest

from billing.core.database import Database
from billing.core.errors import Conflict
from billing.platform.outbox import store
from tests.integration.actors import Actors, Customer, Json
from tests.integration.locked import other_session, waiting_behind

PATH = "/billing/events"


async def followed(customer: Customer, limit: int) -> list[Json]:
    """Every event, asked for in pages, as an integrator would."""
    after, found = 0, []
    while True:
        page = await customer.ask("GET", f"{PATH}?after={after}&limit={limit}", status=200)
        found += page["data"]
        after = page["next_after"]
        if not page["has_more"]:
            return found


async def test_pages_have_every_event_once_in_the_order_of_their_numbers(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    found = await followed(customer, 2)
    first = found[0]["seq"]
    assert [one["seq"] for one in found] == list(range(first, first + len(found)))
    assert [one["type"] for one in found] == await customer.published()
    assert "evt.billing.credits.purchased" in {one["type"] for one in found}
    assert all(one["event_id"].startswith("evt_") for one in found)
    last = found[-1]["seq"]
    rest = await customer.ask("GET", f"{PATH}?after={last}", status=200)
    assert rest == {"data": [], "next_after": last, "has_more": False}


async def test_a_number_that_no_event_has_is_refused_with_the_one_to_go_on_from(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    found = await followed(customer, 100)
    last = found[-1]["seq"]
    refused = await customer.refused("EVENTS_REWOUND", "GET", f"{PATH}?after={last + 3}")
    assert (refused["status"], refused["next_after"]) == (409, last)
    again = await customer.ask("GET", f"{PATH}?after={refused['next_after']}", status=200)
    assert (again["data"], again["next_after"]) == ([], last)
    newcomer = await actors.customer()
    refused = await newcomer.refused(
        "EVENTS_REWOUND", "GET", f"{PATH}?after={10**18}&type=evt.billing.invoice.paid"
    )
    assert refused["next_after"] < 10**18


async def test_who_asks_while_old_events_are_deleted_is_not_told_of_a_restore(
    actors: Actors, database: Database
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    numbers = [one["seq"] for one in await followed(customer, 100)]
    mine = {"me": customer.uuid, "last": numbers[2]}

    async def refused() -> Conflict:
        async with database.tenant(customer.uuid) as connection:
            with pytest.raises(Conflict) as found:
                await store.refuse_unknown(connection, customer.uuid, numbers[1])
        return found.value

    async with other_session(actors.stack) as retention:
        await retention.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        asked = asyncio.create_task(refused())
        await waiting_behind(actors, retention)
        await retention.execute("INSERT INTO dropped_events VALUES (%(me)s, %(last)s, now())", mine)
        await retention.execute(
            "DELETE FROM events WHERE account_id = %(me)s AND seq <= %(last)s", mine
        )
    problem = await asked
    assert (problem.code, problem.fields["next_after"]) == ("EVENTS_GONE", numbers[2])


async def test_events_of_one_type_are_picked_and_another_account_has_its_own(
    actors: Actors,
) -> None:
    customer, other = await actors.customer(), await actors.customer()
    await customer.bought("small")
    kind = "evt.billing.credits.purchased"
    page = await customer.ask("GET", f"{PATH}?type={kind}", status=200)
    assert [one["type"] for one in page["data"]] == [kind]
    assert page["next_after"] == (await followed(customer, 100))[-1]["seq"], "others were passed"
    first = await customer.ask("GET", f"{PATH}?limit=1", status=200)
    assert first["next_after"] == first["data"][0]["seq"], "more follow"
    theirs = await other.ask("GET", PATH, status=200)
    assert kind not in {one["type"] for one in theirs["data"]}


async def test_a_type_that_no_event_has_is_refused(customer: Customer) -> None:
    refused = await customer.refused("INVALID_EVENT_TYPE", "GET", f"{PATH}?type=credits.low")
    assert refused["detail"] == "unknown event type credits.low; see docs/events.md"


async def test_instants_have_the_form_of_all_other_answers(actors: Actors) -> None:
    customer = await actors.customer()
    trial = await customer.ask("POST", "/billing/trials", {}, status=201)
    page = await customer.ask("GET", f"{PATH}?type=evt.billing.trial.started", status=200)
    assert [one["data"]["expires_at"] for one in page["data"]] == [trial["expires_at"]]
    assert trial["expires_at"].endswith("Z")

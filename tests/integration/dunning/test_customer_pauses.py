"""Operators pause the recovery of all that one customer owes, and of what comes to be owed."""

from typing import Any
from uuid import uuid4

from cli import step_back
from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.api_app import Api, stack_settings
from tests.integration.dunning.dunning_setup import case, overdue, tried


def path_of(customer: Customer, verb: str = "") -> str:
    """The route of the customer's dunning."""
    return f"/admin/accounts/{customer.id}/dunning{verb}"


async def pause(customer: Customer, reason: str = "in court") -> Json:
    """Pause all of the customer's cases."""
    body = {"reason": reason}
    return await customer.actors.operate("POST", path_of(customer, "/pause"), body, status=200)


async def resume(customer: Customer) -> Json:
    """Resume what that has paused."""
    return await customer.actors.operate("POST", path_of(customer, "/resume"), {}, status=200)


async def foreseen(customer: Customer, verb: str, body: Json) -> Json:
    """A dry run."""
    return await customer.actors.operate(
        "POST", f"{path_of(customer, verb)}?dry_run=true", body, status=200
    )


def states(shown: Json) -> list[str]:
    """The states of the open cases, oldest first."""
    return [one["status"] for one in shown["cases"]]


async def dunning(customer: Customer) -> Any:
    """The dunning status as the customer sees it."""
    return (await customer.ask("GET", "/billing", status=200))["dunning"]


async def test_what_is_owed_and_what_comes_to_be_owed_rests_until_it_is_resumed(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    assert states(await foreseen(customer, "/pause", {"reason": "in court"})) == ["paused"]
    assert (await case(customer))["status"] == "open", "nothing was done"
    before = await tried(customer)

    paused = await pause(customer)
    assert (states(paused), paused["reason"]) == (["paused"], "in court")
    shown = await dunning(customer)
    assert (shown["status"], shown["all_paused_at"]) == ("paused", paused["paused_at"])
    assert (shown["next_step"], shown["next_due_at"]) == (None, None)
    await customer.advance(to="2027-03-05T10:00:00Z")
    later = await actors.operate("GET", path_of(customer))
    assert states(later) == ["paused", "paused"], "the next renewal's case opened paused"
    assert await tried(customer) == before + 1, "that renewal's own charge, and no slot"
    told = await customer.published()
    assert told.count("evt.billing.dunning.opened") == told.count("evt.billing.dunning.paused") == 2

    assert states(await foreseen(customer, "/resume", {})) == ["open", "open"]
    await customer.script("succeed", then="last")
    resumed = await resume(customer)
    assert (resumed["paused_at"], resumed["cases"]) == (None, []), "the missed slots ran at once"
    assert await dunning(customer) is None
    assert (await customer.subscription())["status"] == "active"
    trail = await actors.operate("GET", f"/admin/audit?account_id={customer.id}&limit=100")
    acts = [one for one in trail["data"] if one["action"].startswith("account.dunning")]
    assert [(one["action"], one["detail"]["reason"]) for one in acts[::-1]] == [
        ("account.dunning_paused", "in court"), ("account.dunning_resumed", ""),
    ]  # fmt: skip


async def test_a_case_that_was_paused_by_itself_before_stays_paused(actors: Actors) -> None:
    customer = await overdue(actors)
    first = await case(customer)
    await actors.operate("POST", f"/admin/dunning/{first['dunning_case_id']}/pause", {})
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert states(await pause(customer)) == ["paused", "paused"]
    resumed = await resume(customer)
    assert states(resumed) == ["paused", "open"]
    assert states(await resume(customer)) == ["paused", "open"], "nothing was left to resume"
    assert (await dunning(customer))["all_paused_at"] is None


async def test_a_case_that_is_paused_by_itself_meanwhile_stays_paused(actors: Actors) -> None:
    customer = await overdue(actors)
    await pause(customer, "a bad hour")
    mine = (await case(customer))["dunning_case_id"]
    for _ in range(2):
        await actors.operate("POST", f"/admin/dunning/{mine}/pause", {"reason": "in court"})
    assert states(await pause(customer, "another one")) == ["paused"]
    assert states(await resume(customer)) == ["paused"]
    trail = (await actors.operate("GET", f"/admin/audit?subject={mine}"))["data"]
    paused = [one["detail"]["reason"] for one in trail if one["action"] == "dunning.paused"]
    assert paused == ["in court", "a bad hour"]


async def test_what_a_pause_has_stopped_does_not_depend_on_its_instant(actors: Actors) -> None:
    customer = await overdue(actors)
    first = await case(customer)
    await actors.operate("POST", f"/admin/dunning/{first['dunning_case_id']}/pause", {})
    await pause(customer)
    assert states(await resume(customer)) == ["paused"], "by itself, on a clock that is frozen"


async def test_a_case_that_seems_to_have_opened_before_the_pause_is_resumed_with_it(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await pause(customer)
    # A decision takes its time before it waits for the account, and clocks differ.
    await customer.rows(
        "UPDATE dunning_cases SET paused_at = paused_at - interval '1 second'"
        " WHERE account_id = %(me)s RETURNING id"
    )
    assert states(await resume(customer)) == ["open"]


async def test_a_case_may_go_on_by_itself_and_another_pause_stops_it_again(actors: Actors) -> None:
    customer = await overdue(actors)
    standing = await pause(customer)
    mine = (await case(customer))["dunning_case_id"]
    await actors.operate("POST", f"/admin/dunning/{mine}/resume", {})
    again = await actors.operate("GET", path_of(customer))
    assert (states(again), again["paused_at"]) == (["open"], standing["paused_at"])
    repeated = await pause(customer, "still in court")
    assert states(repeated) == ["paused"]
    assert (repeated["paused_at"], repeated["reason"]) == (standing["paused_at"], "in court")
    trail = await actors.operate("GET", f"/admin/audit?account_id={customer.id}&limit=100")
    acts = [one["detail"]["reason"] for one in trail["data"]
            if one["action"] == "account.dunning_paused"]  # fmt: skip
    assert acts == ["still in court", "in court"]


async def test_a_customer_who_owes_nothing_is_paused_for_what_comes(
    actors: Actors, api: Api
) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.subscribed("pro")
    assert (await pause(customer))["cases"] == []
    unknown = await step_back.unknown(stack_settings(api.stack))
    assert any(one.startswith("customers whose recovery is paused") for one in unknown)
    assert await dunning(customer) is None
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert states(await actors.operate("GET", path_of(customer))) == ["paused"]
    assert (await customer.subscription())["status"] == "past_due", "no final action came"


async def test_the_pause_is_for_operators_and_once_per_key(actors: Actors) -> None:
    customer, other = await overdue(actors), await actors.customer()
    body = {"reason": "in court"}
    await customer.refused("FORBIDDEN", "POST", path_of(customer, "/pause"), body)
    await other.refused("FORBIDDEN", "GET", path_of(customer))
    headers = actors.headers("*", "admin", str(uuid4()))
    url = f"{API}{path_of(customer, '/pause')}"
    first, second = [
        await actors.client.post(url, json=body, headers=headers) for _ in range(2)
    ]  # fmt: skip
    assert first.content == second.content
    unknown = await actors.client.post(
        f"{API}/admin/accounts/nobody/dunning/pause",
        json=body,
        headers=actors.headers("*", "admin"),
    )
    assert unknown.json()["code"] == "MERCHANT_NOT_FOUND"

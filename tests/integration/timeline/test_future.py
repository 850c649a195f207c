"""The future half comes true: what was shown is what later happens, to the second and the cent."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import pytest

from billing.core.database import Database
from billing.insight.timeline import store
from billing.insight.timeline.rules import MAX_COMING
from tests.integration.actors import Actors, Customer, Json, instant
from tests.integration.dunning.dunning_setup import under
from tests.integration.operator_acts import give

# What a person is shown as a step to come, read back from the rows once it happened.
HAPPENED = """
SELECT s.ran_at AS at, s.name, i.total_minor AS cents, NULL::numeric AS credits
FROM steps s JOIN invoices i ON i.account_id = s.account_id AND i.created_at = s.ran_at
WHERE s.account_id = %(me)s AND s.name IN ('renew', 'end_trial') AND i.subscription_id IS NOT NULL
UNION ALL
SELECT t.started_at, 'charge', coalesce(p.amount_minor, i.amount_due_minor), NULL
FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
LEFT JOIN payments p ON p.id = t.payment_id
WHERE i.account_id = %(me)s AND t.slot IS NOT NULL
UNION ALL
SELECT s.ran_at, s.name, i.amount_due_minor, NULL
FROM steps s JOIN invoices i ON public_id('inv', i.id) = split_part(s.key, '/', 1)
WHERE s.account_id = %(me)s AND s.name = 'give_up'
UNION ALL
SELECT s.ran_at, s.name, NULL, NULL
FROM steps s
WHERE s.account_id = %(me)s
  AND s.name IN
      ('cycle', 'end', 'end_unpaid', 'retire', 'tell_renewal', 'tell_trial_ending')
UNION ALL
SELECT t.at, 'expire_credits', NULL, -t.amount
FROM credit_transactions t
WHERE t.account_id = %(me)s AND t.kind = 'expire'
ORDER BY 1, 2
"""


class Event(NamedTuple):
    """One step, as shown before or as it happened."""

    at: datetime
    name: str
    cents: int | None
    credits: Decimal | None


async def future(customer: Customer, count: int) -> list[Json]:
    shown = await customer.ask("GET", f"/billing/timeline?upcoming={count}")
    coming: list[Json] = shown["future"]
    return coming


def foreseen(coming: list[Json]) -> list[Event]:
    """The entries that leave rows of their own; credits that arrive are told with their charge."""
    return sorted(
        Event(
            instant(one["at"]),
            one["name"],
            one["amount_cents"],
            Decimal(one["credits"]) if one["name"] == "expire_credits" else None,
        )
        for one in coming
    )


async def happened(customer: Customer, since: datetime) -> list[Event]:
    return sorted(
        (
            Event(row["at"], row["name"], row["cents"], row["credits"])
            for row in await customer.rows(HAPPENED)
            if row["at"] > since
        ),
        key=str,
    )


async def comes_true(customer: Customer, coming: list[Json]) -> None:
    """Walk to the last instant shown; all that was shown happened, and nothing else."""
    since = instant((await customer.clock())["clock_at"])
    await customer.advance(to=coming[-1]["at"])
    shown = [one for one in foreseen(coming) if one.at < instant(coming[-1]["at"])]
    seen = [one for one in await happened(customer, since) if one.at < instant(coming[-1]["at"])]
    assert seen == sorted(shown, key=str)
    assert len(seen) > len(coming) // 2


async def test_a_trial_a_first_charge_and_renewals_come_as_shown(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-17T09:30:00Z", zone="Europe/Berlin")
    await customer.save_card()
    await customer.ask("POST", "/billing/subscription", {"plan": "pro"}, status=201)
    coming = await future(customer, 24)
    told = "tell_trial_ending"
    names = [told, told, "end_trial", "charge", "expire_credits", "renew"]
    assert [one["name"] for one in coming[:6]] == names
    days = ["2027-01-24", "2027-01-28", "2027-01-31"]
    assert [one["at"] for one in coming[:3]] == [f"{day}T09:30:00Z" for day in days]
    assert all(one["only_if"] is None for one in coming if one["name"] != "expire_credits")
    await comes_true(customer, coming)
    paid = [effect["amount"] for effect in await customer.effects()]
    charges = [one["amount_cents"] for one in coming if one["name"] == "charge"]
    assert paid[: len(charges)] == charges


async def test_an_invoice_to_come_is_named_by_the_day_of_its_customer_s_zone(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-31T23:30:00Z", zone="Asia/Kolkata")
    await customer.subscribed("pro")
    charge = next(one for one in await future(customer, 4) if one["name"] == "charge")
    assert "for the invoice of 1 Mar 2027" in charge["words"]


async def test_a_yearly_plan_shows_each_month_of_credits(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-31T10:00:00Z")
    await customer.subscribed("basic", interval="yearly")
    shown = await customer.ask("GET", "/billing/timeline")
    charges = [one for one in shown["future"] if one["name"] == "charge"]
    assert [(one["at"], one["amount_cents"]) for one in charges] == [
        ("2028-01-31T10:00:00Z", 19000)
    ], "the next charge, without being asked for more steps"
    assert shown["future_has_more"]
    coming = await future(customer, 27)
    assert shown["future"][:27] == coming
    assert [one["credits"] for one in coming if one["name"] == "cycle"] == ["100.00"] * 11
    assert [(one["at"], one["amount_cents"]) for one in coming if one["name"] == "renew"] == [
        ("2028-01-31T10:00:00Z", 19000)
    ]
    told = [(one["at"], one["words"]) for one in coming if one["name"] == "tell_renewal"]
    assert told == [
        ("2028-01-01T10:00:00Z", "tell that it renews in 30 days"),
        ("2028-01-24T10:00:00Z", "tell that it renews in 7 days"),
    ]
    await comes_true(customer, coming)


async def test_the_recovery_of_an_unpaid_invoice_comes_as_shown(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-31T10:00:00Z")
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-28T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    coming = await future(customer, 8)
    assert [(one["name"], one["at"][:10]) for one in coming[:4]] == [
        ("charge", "2027-03-03"),
        ("charge", "2027-03-07"),
        ("give_up", "2027-03-08"),
        ("renew", "2027-03-31"),
    ]
    assert "not paid before" in coming[0]["only_if"]
    assert "becomes unpaid" in coming[2]["words"]
    ends = next(one["at"] for one in coming if one["name"] == "end_unpaid")
    assert ends[:10] == "2027-05-07", "sixty days after it became unpaid"
    await comes_true(customer, coming)
    ended = await customer.subscription()
    assert (ended["status"], ended["ended_at"]) == ("canceled", ends)
    assert len(await customer.effects()) == 1, "only the first payment ever succeeded"


async def test_a_planned_end_is_the_last_thing_shown(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-31T10:00:00Z")
    await customer.subscribed("pro")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "period_end"})
    coming = await future(customer, 12)
    assert [one["name"] for one in coming] == ["end", "expire_credits"]
    await customer.advance(days=60)
    ended = await customer.subscription()
    assert ended["ended_at"] == coming[0]["at"]
    assert await future(customer, 12) == []


async def test_a_pending_purchase_expires_when_shown_unless_it_is_paid(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small")
    paid = await customer.buy("medium")
    coming = await future(customer, 12)
    ends = [one for one in coming if one["name"] == "expire"]
    assert [(one["amount_cents"], one["only_if"]) for one in ends] == [
        (999, "it is not paid before"),
        (3999, "it is not paid before"),
    ]
    await customer.pay(paid)
    await customer.until_purchase(paid["purchase_id"], "completed")
    await customer.advance(to=ends[0]["at"])
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert await future(customer, 12) == []


@pytest.mark.parametrize("count", [0, 1, 7])
async def test_as_many_steps_are_shown_as_were_asked_for(actors: Actors, count: int) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    assert len(await future(customer, count)) == count


async def test_without_a_card_the_end_of_a_trial_is_shown_as_it_will_be(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/subscription", {"plan": "pro"}, status=201)
    _, notice, end, *_ = await future(customer, 12)
    assert (notice["name"], end["only_if"]) == ("tell_trial_ending", "no card is saved before")
    await customer.advance(to=end["at"])
    assert (await customer.subscription())["status"] == "canceled"


async def test_what_a_dunned_subscription_leaves_behind_comes_as_shown(actors: Actors) -> None:
    """Usage was served whatever comes: only the plan's time not served is taken back."""
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.subscribed("basic")
    policy = {"final_action": "cancel", "days": [0, 10, 40]}
    await under(customer, policy, past_due_access="full")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-01T10:00:00Z")
    await customer.ask(
        "POST",
        "/usage/record",
        {"feature_type": "ai_responses", "usage_amount": "1000"},
        status=201,
    )
    await customer.advance(to="2027-03-01T10:00:00Z")

    coming = await future(customer, 20)
    shown = next(
        one["amount_cents"]
        for one in coming
        if one["name"] == "charge" and one["at"] == "2027-04-10T10:00:00Z"
    )
    await customer.advance(to="2027-03-15T10:00:00Z")

    assert (await customer.subscription())["status"] == "canceled"
    left = await customer.rows(
        "SELECT amount_due_minor - amount_paid_minor - amount_credited_minor AS owed"
        " FROM invoices WHERE account_id = %(me)s AND status = 'open' AND period_start IS NOT NULL"
    )
    assert [row["owed"] for row in left] == [shown]


async def test_what_follows_a_first_payment_at_the_bank_depends_on_its_word(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribe("basic")
    await customer.script("processing")
    await customer.confirm(begun)
    await customer.until_handled("payment_intent.processing")
    coming = (await customer.ask("GET", "/billing/timeline"))["future"]
    assert coming[0]["words"] == "ask Stripe"
    assert {one["only_if"] for one in coming[:1]} == {None}
    renewal = next(one for one in coming if one["words"].startswith("renew Basic"))
    assert renewal["only_if"] == "the first payment comes"
    assert all(one["only_if"] for one in coming[1:])


async def test_held_credits_expire_with_what_ends_last(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-05T10:00:00Z")
    await customer.subscribed("basic")
    await customer.advance(to="2027-01-25T10:00:00Z")
    for amount, until in (("30", "2027-01-26"), ("20", "2027-02-20")):
        body = {"amount": amount, "reason": "job", "expires_at": f"{until}T10:00:00Z"}
        await customer.ask("POST", "/billing/credits/holds", body, status=201)
    coming = [one for one in await future(customer, 9) if one["name"] == "expire_credits"]
    assert [(one["at"][:10], one["words"], one["credits"]) for one in coming[:3]] == [
        ("2027-01-26", "30.00 held credits are free again", None),
        ("2027-02-05", "80.00 plan credits expire", "80.00"),
        ("2027-02-20", "20.00 held credits expire", "20.00"),
    ]
    await customer.advance(to="2027-02-21T10:00:00Z")
    expired = await customer.rows(
        "SELECT -amount AS credits FROM credit_transactions"
        " WHERE account_id = %(me)s AND kind = 'expire' ORDER BY seq"
    )
    assert [row["credits"] for row in expired] == [80, 20]


async def test_no_more_holds_are_read_than_can_be_shown(actors: Actors, database: Database) -> None:
    """A queue gave its account a hundred thousand: reading them stopped the API for all."""
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await give(customer, "1")
    for minute in range(MAX_COMING, -1, -1):
        at = f"2027-01-02T{minute // 60:02}:{minute % 60:02}:00Z"
        body = {"amount": "0.001", "reason": "job", "expires_at": at}
        await customer.ask("POST", "/billing/credits/holds", body, status=201)
    async with database.tenant(customer.uuid) as connection:
        read = (await store.outlook(connection, customer.uuid)).expiring
    assert len([one for one in read if one.grant_key is None]) == MAX_COMING
    coming = await future(customer, MAX_COMING)
    assert [one["at"] for one in coming[:2]] == ["2027-01-02T00:00:00Z", "2027-01-02T00:01:00Z"]
    assert coming[-1]["at"] == "2027-01-02T01:39:00Z"

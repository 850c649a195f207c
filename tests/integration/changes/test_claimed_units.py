"""Units of an open claim count as used: their time, or they, cannot be taken back meanwhile."""

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.changes.chosen_plans import PATH, begun
from tests.integration.changes.test_endings import NOW
from tests.integration.money_seen import charged, money
from tests.integration.operator_acts import check_books
from tests.integration.reversals.refunds_made import paid_for, refunded

RECORD = "/usage/record"


async def claim(customer: Customer, amount: str, feature: str = "ai_responses") -> None:
    """Ask before the work, as a backend does; it is allowed."""
    body = {
        "feature_type": feature, "requested_amount": amount, "consume": True,
        "event_id": f"job-{amount}",
    }  # fmt: skip
    answer = await customer.ask("POST", "/quota/check", body, status=200)
    assert answer["allowed"] is True


@pytest.mark.parametrize(("claimed", "given_back"), [("5000", 0), ("2500", 2450)])
async def test_the_time_of_claimed_units_is_not_given_back(
    actors: Actors, claimed: str, given_back: int
) -> None:
    customer = await begun(actors, "pro")
    await claim(customer, claimed)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == given_back
    await check_books(customer)


async def test_a_claim_that_has_expired_keeps_nothing(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await claim(customer, "5000")
    await customer.advance(to="2027-01-01T10:30:00Z")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) > 4890


async def test_claimed_units_of_an_add_on_stay(actors: Actors) -> None:
    """Also where nothing was used of the meter yet."""
    customer = await begun(actors, "basic")
    await choose(customer, ai_500=1)
    await claim(customer, "1000")
    await customer.refused("UNITS_SPENT", "PUT", PATH, {"add_ons": [], "at": "now"})
    await customer.advance(to="2027-01-01T10:30:00Z")
    await customer.ask("PUT", PATH, {"add_ons": [], "at": "now"}, status=200)


def use(amount: str, event: str) -> Json:
    """The use that was claimed, once its work is done."""
    return {"feature_type": "ai_responses", "usage_amount": amount, "event_id": event}


@pytest.mark.parametrize("in_batch", [False, True])
async def test_what_a_claim_had_allowed_is_recorded_after_the_end_of_its_plan(
    actors: Actors, in_batch: bool
) -> None:
    """The end kept the money of its units; the default plan would refuse them."""
    customer = await begun(actors, "pro")
    await claim(customer, "2500")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    done = use("2500", "job-2500")
    if in_batch:
        rows = {"events": [use("51", "unclaimed"), done]}
        results = (await customer.ask("POST", "/usage/batch", rows))["results"]
        codes = [one.get("code", one["status"]) for one in results]
        assert codes == ["QUOTA_EXCEEDED", "recorded"]
    else:
        await customer.refused("QUOTA_EXCEEDED", "POST", RECORD, use("51", "unclaimed"))
        assert (await customer.ask("POST", RECORD, done, status=201))["total_cost"] == "0"
        assert (await customer.ask("POST", RECORD, done))["total_cost"] == "0", "sent again"
    assert await money(customer) == 2450
    await customer.advance(days=2)
    assert await charged(customer) == [4900], "its cycle included them"
    await check_books(customer)


@pytest.mark.parametrize("in_batch", [False, True])
async def test_what_a_claim_had_allowed_is_recorded_in_a_pause(
    actors: Actors, in_batch: bool
) -> None:
    customer = await begun(actors, "pro")
    await claim(customer, "2000")
    await claim(customer, "500")
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.advance(to="2027-01-01T10:08:00Z")
    if in_batch:
        rows = {"events": [use("1", "unclaimed"), use("2000", "job-2000"), use("500", "job-500")]}
        results = (await customer.ask("POST", "/usage/batch", rows))["results"]
        codes = [one.get("code", one["status"]) for one in results]
        assert codes == ["NO_ENTITLEMENT", "recorded", "recorded"]
    else:
        await customer.refused("NO_ENTITLEMENT", "POST", RECORD, use("1", "unclaimed"))
        done = await customer.ask("POST", RECORD, use("2000", "job-2000"), status=201)
        assert done["total_cost"] == "0"
    await check_books(customer)


@pytest.mark.parametrize("case", ["more", "late", "another meter", "refunded", "lost"])
async def test_nothing_but_what_was_claimed_in_time_and_is_paid_is_recorded_after_the_end(
    actors: Actors, case: str
) -> None:
    customer = await begun(actors, "pro")
    await claim(customer, "2500")
    if case == "refunded":
        await refunded(customer, await paid_for(customer))
        await customer.until_subscription("canceled")
    elif case == "lost":  # to a bank, most of it
        paid = (await paid_for(customer))["stripe_payment_intent_id"]
        opened = await actors.sandbox.dispute(paid, amount=3000)
        await actors.sandbox.finish_dispute(opened.body["id"], "lost")
        await customer.until_subscription("canceled")
    else:
        await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    if case == "late":
        await customer.advance(to="2027-01-01T10:30:00Z")
    body = use("2501" if case == "more" else "2500", "job-2500")
    if case == "another meter":
        body["feature_type"] = "document_uploads"
    await customer.refused("QUOTA_EXCEEDED", "POST", RECORD, body)
    if case == "late":  # what nobody recorded counts no more
        await customer.ask("POST", RECORD, use("50", "of the default plan"), status=201)


@pytest.mark.parametrize("stops", ["cancel", "pause"])
async def test_a_claim_of_the_very_instant_of_an_end_or_pause_is_recorded_too(
    actors: Actors, stops: str
) -> None:
    """The clock stands still between the claim and the record."""
    customer = await begun(actors, "pro")
    await customer.advance(to="2027-01-16T22:00:00Z")
    await claim(customer, "4000")
    body = NOW if stops == "cancel" else {"at": "now"}
    await customer.ask("POST", f"{PATH}/{stops}", body, status=200)
    left = await money(customer)
    assert left == (980 if stops == "cancel" else 0), "a fifth of its units was left"
    done = await customer.ask("POST", RECORD, use("4000", "job-4000"), status=201)
    assert done["total_cost"] == "0"
    code = "QUOTA_EXCEEDED" if stops == "cancel" else "NO_ENTITLEMENT"
    await customer.refused(code, "POST", RECORD, use("51", "unclaimed"))
    await customer.advance(days=2)
    assert await money(customer) == left
    assert await charged(customer) == [4900]
    await check_books(customer)

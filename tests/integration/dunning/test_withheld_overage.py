"""Overage withheld while an invoice is overdue is told as a debt, not as a used-up quota."""

from typing import Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.dunning.dunning_setup import overdue

DEBT: Final = (
    "Quota exceeded for service type: the plan sells more, but not while an invoice is overdue; pay"
    " what is overdue"
)
RECORD: Final[Json] = {"feature_type": "ai_responses", "usage_amount": "1"}
CHECK: Final[Json] = {"feature_type": "ai_responses", "requested_amount": "1"}


async def used_up(actors: Actors) -> Customer:
    """All that pro includes is used, and its renewal was declined."""
    customer = await overdue(actors)
    await customer.ask("POST", "/usage/record", RECORD | {"usage_amount": "5000"}, status=201)
    return customer


async def test_the_refusal_names_the_debt_and_no_time_at_which_it_would_pass(
    actors: Actors,
) -> None:
    customer = await used_up(actors)

    answer = await customer.call("POST", "/usage/record", RECORD)
    refused = answer.json()
    assert (answer.status_code, refused["code"]) == (429, "QUOTA_EXCEEDED")
    assert "Retry-After" not in answer.headers
    assert (refused["detail"], refused["refused_by"]) == (DEBT, "plan")
    assert (refused["access"], refused["reason"]) == ("no_new_overage", "past_due")

    check = await customer.ask("POST", "/quota/check", CHECK, status=200)
    assert (check["allowed"], check["reason"]) == (False, DEBT)
    assert (check["access"], check["passes_at"]) == ("no_new_overage", None)

    given = await customer.ask("GET", "/billing/entitlements", status=200)
    assert (given["access"], given["reason"]) == ("no_new_overage", "past_due")
    one = await customer.ask("GET", "/billing/entitlements/ai_responses", status=200)
    assert (one["access"], one["reason"]) == ("no_new_overage", "past_due")


async def test_once_the_debt_is_paid_the_same_use_passes(actors: Actors) -> None:
    customer = await used_up(actors)
    await customer.script("succeed", then="last")
    await customer.ask("POST", "/billing/pay-overdue", {}, key=str(uuid4()), status=200)
    await customer.until_subscription("active")

    check = await customer.ask("POST", "/quota/check", CHECK, status=200)
    assert (check["allowed"], check["reason"], check["access"]) == (True, None, None)
    await customer.ask("POST", "/usage/record", RECORD, status=201)
    given = await customer.ask("GET", "/billing/entitlements", status=200)
    assert (given["access"], given["reason"]) == ("full", None)


async def test_a_window_that_ends_before_the_debt_is_given_up_is_still_told(
    actors: Actors,
) -> None:
    """The recovery of a renewal on 1 February is given up on 9 February at the earliest."""
    customer = await overdue(actors)
    quota = {"account_id": customer.id, "feature_type": "ai_responses", "limit": "1"}
    await actors.operate("PUT", "/admin/quotas", quota | {"window": "day"})
    await customer.ask("POST", "/usage/record", RECORD, status=201)
    check = await customer.ask("POST", "/quota/check", CHECK, status=200)
    assert (check["refused_by"], check["access"]) == ("quota", None)
    assert check["passes_at"] == "2027-02-02T00:00:00Z"

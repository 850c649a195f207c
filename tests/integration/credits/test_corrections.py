"""Operators give and take credits with a reason, and allow accounts to owe some [F23]."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.lost_answers import lose_answer

ADJUST = "/api/v1/admin/credits/adjust"


async def adjust(
    customer: Customer, amount: str, *, key: str | None = None, role: str = "admin", **more: Any
) -> httpx2.Response:
    body = {"account_id": customer.id, "amount": amount, "reason": "a mistake of ours"} | more
    headers = customer.actors.headers("*", role, key or str(uuid4()))
    return await customer.actors.client.post(ADJUST, json=body, headers=headers)


async def audit(customer: Customer, action: str) -> list[Any]:
    rows = await customer.rows(
        "SELECT actor, detail FROM billing_audit WHERE account_id = %(me)s AND action = %(action)s"
        " ORDER BY id",
        action=action,
    )
    return [row["detail"] for row in rows if row["actor"].startswith("admin:")]


async def test_credits_are_given_with_a_reason_once_per_key(customer: Customer) -> None:
    given = await adjust(customer, "12.5", key="ticket-1", scope="images")
    assert given.status_code == 201, given.text
    assert (given.json()["amount"], given.json()["balance"]) == ("12.50", "12.50")
    again = await adjust(customer, "12.5", key="ticket-1", scope="images")
    assert (again.headers["Idempotent-Replayed"], again.content) == ("true", given.content)
    other = await adjust(customer, "13", key="ticket-1", scope="images")
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await customer.credits() == 12.5
    (said,) = await audit(customer, "credits.adjusted")
    assert (said["credits"], said["reason"], said["scope"]) == (
        "12.50", "a mistake of ours", "images",
    )  # fmt: skip
    assert (await customer.published()).count("evt.billing.credits.adjusted") == 1
    (lot,) = await customer.grants("adjustment")
    assert (lot["scope"], lot["is_paid"]) == ("images", False)


async def test_credits_whose_answer_was_lost_are_told_though_they_have_ended(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    key, ends = str(uuid4()), {"expires_at": "2027-01-02T00:00:00Z"}
    given = await adjust(customer, "50", key=key, **ends)
    await customer.advance(days=2)
    await lose_answer(actors, key)
    again = await adjust(customer, "50", key=key, **ends)
    assert (again.status_code, again.json()) == (201, given.json())
    assert await customer.credits() == 0


async def test_credits_are_taken_and_nobody_used_them(customer: Customer) -> None:
    await adjust(customer, "10")
    await customer.ask("POST", "/billing/credits/holds", {"amount": "4"}, status=201)
    too_much = await adjust(customer, "-6.01")
    assert (too_much.status_code, too_much.json()["available"]) == (402, "6.00")
    taken = await adjust(customer, "-6")
    assert (taken.json()["amount"], taken.json()["balance"]) == ("-6.00", "4.00")
    balance = await customer.ask("GET", "/billing/credits/balance")
    assert (balance["credits_used_this_month"], balance["available"]) == ("0", "0")
    (entry, _) = (await customer.ask("GET", "/billing/credits/transactions"))["data"]
    assert (entry["kind"], entry["amount"], entry["reason"]) == (
        "adjustment", "-6.00", "a mistake of ours",
    )  # fmt: skip


async def test_ten_operators_with_one_key_are_one_adjustment(customer: Customer) -> None:
    answers = await asyncio.gather(*(adjust(customer, "5", key="ticket-9") for _ in range(10)))
    assert {one.status_code for one in answers} <= {201, 409}
    assert await customer.credits() == 5


@pytest.mark.parametrize(
    ("amount", "more"),
    [
        ("0", {}),
        ("1", {"reason": "  "}),
        ("-1", {"expires_at": "2099-01-01T00:00:00Z"}),
        ("-1", {"is_paid": True}),
        ("-1", {"priority": 5}),
        ("0.0000000000001", {}),
    ],
)
async def test_a_correction_that_says_nothing_is_refused(
    customer: Customer, amount: str, more: dict[str, Any]
) -> None:
    answer = await adjust(customer, amount, **more)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")


async def test_only_admins_correct_and_only_with_a_key(customer: Customer, actors: Actors) -> None:
    assert (await adjust(customer, "1", role="service")).status_code == 403
    body = {"account_id": customer.id, "amount": "1", "reason": "no key"}
    keyless = await actors.client.post(ADJUST, json=body, headers=actors.headers("*", "admin"))
    assert (keyless.status_code, keyless.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")
    past = await adjust(customer, "1", expires_at="2020-01-01T00:00:00Z")
    assert past.json()["code"] == "INVALID_EXPIRY"
    assert await customer.credits() == 0


async def test_an_overdraft_is_allowed_with_a_reason(customer: Customer) -> None:
    path = f"/admin/accounts/{customer.id}/overdraft"
    body = {"overdraft": "50", "reason": "a good customer"}
    for _ in range(2):
        set_to = await customer.actors.operate("PUT", path, body, status=200)
        assert (set_to["overdraft"], set_to["debt"]) == ("50.00", "0")
    assert len(await audit(customer, "credits.overdraft_set")) == 1
    balance = await customer.ask("GET", "/billing/credits/balance")
    assert (balance["overdraft"], balance["available"]) == ("50.00", "0")
    await customer.refused("FORBIDDEN", "PUT", path, body)
    refused = await customer.actors.client.put(
        f"/api/v1{path}",
        json=body | {"overdraft": "-1"},
        headers=customer.actors.headers("*", "admin"),
    )
    assert refused.status_code == 422

"""A use that was put off, paid by a card and by credits at once: nobody stands in the way."""

import asyncio
from typing import Final
from uuid import uuid4

from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.locked import other_session, waiting_behind
from tests.integration.operator_acts import check_books
from tests.integration.waiting import wait_for

WAYS: Final = ("payment_charge", "credit_consumption", "credit_consumption", "payment_charge")


async def put_off(customer: Customer) -> str:
    body = {"product_id": "gpt-4", "usage_amount": "5000", "on_insufficient": "defer"}
    done = await customer.ask("POST", "/usage/record", body, status=201)
    assert done["billing_status"] == "pending"
    return str(done["billing_id"])


async def process(customer: Customer, billing_id: str, way: str) -> tuple[int, str]:
    body = {"billing_id": billing_id, "billing_method": way}
    answer = await customer.call("POST", "/billing/process", body, key=str(uuid4()))
    seen: Json = answer.json()
    return answer.status_code, str(seen.get("code") or seen["billing_status"])


async def grant(customer: Customer, amount: str = "1") -> tuple[int, str]:
    body = {"account_id": customer.id, "amount": amount, "reason": "test"}
    client, headers = customer.actors.client, customer.actors.headers("*", "admin", str(uuid4()))
    answer = await client.post(f"{API}/admin/credits/adjust", json=body, headers=headers)
    return answer.status_code, "granted"


async def take_back(customer: Customer, billing_id: str) -> tuple[int, str]:
    path, headers = f"/billing/records/{billing_id}/void", customer.actors.headers("*", "service")
    answer = await customer.actors.client.post(
        f"{API}{path}", json={"reason": "wrong"}, headers=headers
    )
    assert answer.status_code in (200, 409), answer.text
    return answer.status_code, "asked"


async def until_decided(customer: Customer, billing_id: str) -> None:
    await wait_for(
        lambda: customer.ask("GET", f"/billing/records/{billing_id}"),
        f"{billing_id} is decided",
        lambda seen: seen["billing_status"] in ("completed", "refunded"),
    )


async def test_card_and_credits_at_once_never_lock_each_other_out(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    for _ in range(8):
        billing_id = await put_off(customer)
        answers = await asyncio.gather(
            *(process(customer, billing_id, way) for way in WAYS),
            grant(customer),
            take_back(customer, billing_id),
        )
        assert all(code < 500 for code, _ in answers), answers
        await until_decided(customer, billing_id)
    await check_books(customer)


async def test_who_pays_by_card_waits_for_the_account_without_the_record(actors: Actors) -> None:
    """All that writes a record locks the account first; credits that are debited write many."""
    customer = await actors.customer()
    await customer.save_card()
    billing_id = await put_off(customer)
    async with other_session(actors.stack) as debiting:
        mine = (customer.uuid,)
        await debiting.execute(
            "SELECT 1 FROM credit_balances WHERE account_id = %s FOR UPDATE", mine
        )
        paying = asyncio.create_task(process(customer, billing_id, "payment_charge"))
        await waiting_behind(actors, debiting)
        await debiting.execute(
            "SELECT 1 FROM billing_records WHERE account_id = %s FOR UPDATE NOWAIT", mine
        )
    assert await paying == (200, "completed")


async def test_credits_do_not_pay_a_use_that_a_card_is_being_charged_for(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    billing_id = await put_off(customer)
    await customer.script("processing", then="normal")
    assert await process(customer, billing_id, "payment_charge") == (202, "pending")
    await grant(customer, "100")
    assert (await process(customer, billing_id, "credit_consumption"))[1] == "pending"
    (payment,) = await customer.rows(
        "SELECT stripe_payment_intent_id AS intent FROM payments WHERE account_id = %(me)s"
    )
    await actors.sandbox.settle(payment["intent"], "succeed")
    await until_decided(customer, billing_id)
    shown = await customer.ask("GET", "/billing/credits/balance")
    assert shown["credits"] == "100.00", "it was paid twice"

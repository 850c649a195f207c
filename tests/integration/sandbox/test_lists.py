"""Lists, pages and expansion."""

from datetime import UTC, datetime, timedelta
from typing import Any

from gateways.stripe import StripeGateway
from tests.integration.sandbox.support import Process, refused


async def three(v1: Any, customer: str) -> list[str]:
    """Three intents of one customer, newest first."""
    made = []
    for amount in (1000, 1001, 1002):
        intent = await v1.payment_intents.create_async(
            {
                "amount": amount,
                "currency": "usd",
                "customer": customer,
                "payment_method": "pm_card_visa",
                "confirm": True,
            }
        )
        made.append(intent.id)
    return made[::-1]


async def test_pages_walk_forwards_and_backwards(v1: Any, customer: str) -> None:
    ids = await three(v1, customer)

    async def page(**params: Any) -> tuple[list[str], bool]:
        found = await v1.payment_intents.list_async({"customer": customer, **params})
        return [intent.id for intent in found.data], found.has_more

    assert await page(limit=2) == (ids[:2], True)
    assert await page(limit=2, starting_after=ids[1]) == (ids[2:], False)
    assert await page(limit=1, ending_before=ids[2]) == ([ids[1]], True)
    assert await page(ending_before=ids[0]) == ([], False)
    for call in (page(limit=0), page(limit=101), page(starting_after="pi_no")):
        await refused(call)
    both = page(starting_after=ids[0], ending_before=ids[1])
    assert (await refused(both)).code == "parameters_exclusive"


async def test_the_sdk_pages_by_itself(v1: Any, customer: str) -> None:
    ids = await three(v1, customer)
    listed = await v1.payment_intents.list_async({"customer": customer, "limit": 1})
    assert [intent.id async for intent in listed.auto_paging_iter()] == ids


async def test_lists_filter_by_time(v1: Any, customer: str) -> None:
    ids = await three(v1, customer)
    newest = await v1.payment_intents.retrieve_async(ids[0])
    for created, count in (
        ({"gte": newest.created - 60}, 3),
        ({"gt": newest.created}, 0),
        ({"lt": newest.created + 60, "gte": 0}, 3),
        ({"lte": 5}, 0),
    ):
        params = {"customer": customer, "created": created}
        assert len((await v1.payment_intents.list_async(params)).data) == count


async def test_a_lost_intent_is_found_among_those_since_it_was_begun(
    sandbox: Process, v1: Any, customer: str
) -> None:
    params = {"amount": 999, "currency": "usd", "customer": customer}
    made = await v1.payment_intents.create_async({**params, "metadata": {"payment": "pay_1"}})
    await three(v1, customer)
    gateway = StripeGateway("sk_test_sandbox", sandbox.url)
    at = datetime.fromtimestamp(made.created, UTC)
    found = await gateway.find_intent(customer, "pay_1", at)
    assert found is not None
    assert found.intent_id == made.id
    assert await gateway.find_intent(customer, "pay_1", at + timedelta(hours=1)) is None
    await gateway.close()


async def test_customers_are_found_by_mail(v1: Any, customer: str) -> None:
    mail = f"{customer}@example.com"
    await v1.customers.update_async(customer, {"email": mail})
    assert [c.id for c in (await v1.customers.list_async({"email": mail})).data] == [customer]


async def test_lists_expand_inside_their_data(v1: Any, customer: str) -> None:
    await three(v1, customer)
    listed = await v1.payment_intents.list_async(
        {
            "customer": customer,
            "expand": [
                "data.latest_charge.balance_transaction",
                "data.customer",
                "data.payment_method",
            ],
        }
    )
    assert len(listed.data) == 3
    for intent in listed.data:
        assert intent.latest_charge.balance_transaction.net < intent.amount
        assert intent.customer.id == customer
        assert intent.payment_method.card.brand == "visa"
    charges = await v1.charges.list_async(
        {"customer": customer, "expand": ["data.payment_intent", "data.balance_transaction"]}
    )
    assert {charge.payment_intent.status for charge in charges.data} == {"succeeded"}


async def test_only_references_can_be_expanded(v1: Any, customer: str) -> None:
    (newest, *_) = await three(v1, customer)
    for path in ("amount", "latest_charge.nothing", "data.customer", "a.b.c.d.e"):
        error = await refused(v1.payment_intents.retrieve_async(newest, {"expand": [path]}))
        assert error.param == "expand"


async def test_a_removed_customer_expands_to_its_stub(v1: Any) -> None:
    made = await v1.customers.create_async({})
    intent = await v1.payment_intents.create_async(
        {"amount": 999, "currency": "usd", "customer": made.id}
    )
    await v1.customers.delete_async(made.id)
    found = await v1.payment_intents.retrieve_async(intent.id, {"expand": ["customer"]})
    assert found.customer.deleted

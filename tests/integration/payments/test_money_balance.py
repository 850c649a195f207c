"""The money balance: seen with its causes, adjusted by operators, used before a card is."""

from functools import partial
from uuid import uuid4

from tests.integration.actors import API, Actors, Customer, Json, wait_for
from tests.integration.operator_acts import check_books

BALANCE = "/billing/balance"


async def adjust(customer: Customer, cents: int, key: str | None = None, **more: object) -> Json:
    """An operator gives or takes money."""
    answer = await customer.actors.client.post(
        f"{API}/admin/accounts/{customer.id}/balance/adjust",
        json={"amount_cents": cents, "reason": "goodwill"} | more,
        headers=customer.actors.headers("*", "admin", key or str(uuid4())),
    )
    assert answer.status_code == 201, answer.text
    adjusted: Json = answer.json()
    return adjusted


async def balance(customer: Customer) -> tuple[int, list[tuple[str, int]]]:
    """The balance as the customer sees it, with its entries, oldest first."""
    seen = await customer.ask("GET", BALANCE, status=200)
    entries = [(one["kind"], one["amount_cents"]) for one in seen["data"][::-1]]
    assert all(one["cause"] for one in seen["data"])
    return seen["balance_cents"], entries


async def test_an_operator_adjusts_it_once_per_key_and_the_customer_reads_why(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    assert await balance(customer) == (0, [])
    key = str(uuid4())
    first = await adjust(customer, 700, key)
    assert await adjust(customer, 700, key) == first
    assert (first["balance_cents"], first["currency"]) == (700, "USD")
    await adjust(customer, -200)
    assert await balance(customer) == (500, [("adjusted", 700), ("adjusted", -200)])
    seen = await customer.ask("GET", BALANCE)
    assert {one["reason"] for one in seen["data"]} == {"goodwill"}
    assert (await customer.published()).count("evt.billing.balance.adjusted") == 2
    path = f"/admin/accounts/{customer.id}/balance/adjust"
    await customer.refused("FORBIDDEN", "POST", path, {"amount_cents": 5, "reason": "-"}, key="me")
    refused = await customer.actors.client.post(
        f"{API}{path}",
        json={"amount_cents": 5, "reason": "-", "currency": "EUR"},
        headers=customer.actors.headers("*", "admin", str(uuid4())),
    )
    assert refused.json()["code"] == "CURRENCY_MISMATCH"


async def test_what_it_lacks_of_a_pack_is_carried_where_no_card_can_be_charged_so_little(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await adjust(customer, 970)
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"
    assert (await balance(customer))[0] == -29
    assert await customer.effects() == []
    await check_books(customer)


async def test_a_balance_in_debt_lends_nothing_more(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await adjust(customer, 970)
    by_hand = await customer.buy("small", "manual", key="by-hand")
    assert by_hand["status"] == "completed", "no transfer of so little is asked for"
    assert (await customer.buy("small", "saved_card"))["status"] == "completed"
    assert [one["amount"] for one in await customer.effects()] == [999]
    assert await balance(customer) == (
        -29, [("adjusted", 970), ("applied", -970), ("carried", -29)],
    )  # fmt: skip


async def test_a_pack_is_paid_from_it_first_and_a_card_pays_the_rest(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.save_card()
    await adjust(customer, 1500)
    spared = await customer.buy("small", "saved_card", use_balance=False)
    assert spared["status"] == "completed"

    covered = await customer.buy("small", "saved_card")

    assert (covered["status"], covered["amount_cents"]) == ("completed", 999)
    shared = await customer.buy("small", "saved_card")
    assert shared["status"] == "completed"
    assert [one["amount"] for one in await customer.effects()] == [999, 498]
    assert await balance(customer) == (
        0, [("adjusted", 1500), ("applied", -999), ("applied", -501)],
    )  # fmt: skip
    assert await customer.credits() == 300
    for bought in (covered, shared):
        path = f"/billing/purchases/{bought['purchase_id']}/proof"
        await wait_for(
            partial(customer.ask, "GET", path),
            "the proof is whole",
            lambda seen: seen["consistent"],
        )


async def test_what_was_taken_for_a_pack_that_is_not_paid_comes_back(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await adjust(customer, 100)
    by_hand = await customer.buy("small", "manual")
    assert by_hand["next_action"]["amount_cents"] == 899
    assert (await balance(customer))[0] == 0
    await customer.advance(days=15)
    assert (await customer.purchase(by_hand["purchase_id"]))["status"] == "expired"
    assert await balance(customer) == (
        100, [("adjusted", 100), ("applied", -100), ("returned", 100)],
    )  # fmt: skip


async def test_a_first_invoice_and_a_use_are_paid_from_it_too(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.save_card()
    await adjust(customer, 5100)
    await customer.subscribe("pro")
    await customer.until_subscription("active")
    use = {"product_id": "gpt-4", "usage_amount": "1000", "billing_method": "payment_charge"}
    done = await customer.ask("POST", "/usage/record", use | {"event_id": "one"})
    assert done["billing_status"] == "completed"
    assert await customer.effects() == []
    assert (await balance(customer))[0] == 0


async def test_money_nobody_asked_for_is_seen_and_pays_the_next_pack(actors: Actors) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small", "manual")
    body = {
        "invoice_id": begun["invoice_id"],
        "payment_method": "bank_transfer",
        "transaction_reference": "TRX-9",
    }
    paid = await customer.ask("POST", "/billing/payments/manual", body, status=201)
    await actors.operate(
        "POST", f"/admin/payments/{paid['payment_id']}/approve", {"amount_minor": 2000}
    )
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert await balance(customer) == (1001, [("overpaid", 1001)])
    assert (await customer.buy("small", "manual", key="covered"))["status"] == "completed"
    assert (await balance(customer))[0] == 2


async def test_a_pack_that_it_covers_is_bought_under_a_key_once(actors: Actors) -> None:
    customer = await actors.customer()
    await adjust(customer, 5000)
    for flow in ("card", "checkout", "manual"):
        problem = await customer.refused(
            "IDEMPOTENCY_KEY_REQUIRED", "POST", "/billing/purchases",
            {"pack": "small", "payment_method": flow},
        )  # fmt: skip
        assert problem["status"] == 400
    assert await balance(customer) == (5000, [("adjusted", 5000)])
    assert (await customer.ask("GET", "/billing/purchases"))["data"] == []

    bought = await customer.buy("small", key="covered")
    assert bought["status"] == "completed"
    assert await customer.buy("small", key="covered") == bought
    assert (await balance(customer))[0] == 5000 - 999
    begun = await customer.buy("small", use_balance=False)
    assert begun["next_action"]["type"] == "confirm_card"


async def test_a_debt_waits_where_nothing_is_to_be_charged(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await adjust(customer, -1000)
    begun = await customer.subscribe("free")
    assert begun["status"] == "active"
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active", "nobody was asked for the debt"
    assert (await balance(customer))[0] == -1000


async def test_a_trial_is_converted_by_what_the_balance_paid(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.ask("POST", "/billing/trials", status=201)
    await adjust(customer, 2000)
    begun = await customer.subscribe("basic")
    assert begun["status"] == "active"
    assert (await customer.ask("GET", "/billing/trials"))["status"] == "converted"

"""Somebody says he paid, and no webhook came: an operator has the provider asked at once."""

from tests.integration.actors import Actors, Customer, Json


async def check(actors: Actors, payment: str, status: int = 200) -> Json:
    return await actors.operate("POST", f"/admin/payments/{payment}/check", status=status)


async def prove(customer: Customer, purchase: Json) -> Json:
    return await customer.ask("GET", f"/billing/purchases/{purchase['purchase_id']}/proof")


async def test_money_that_nobody_told_of_is_found_by_asking(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.buy("small", "checkout")
    opened = await prove(customer, begun)
    payment = opened["payments"][0]["payment_id"]
    async with customer.unheard():
        unpaid = await check(actors, payment)
        proof = await prove(customer, begun)
        page = begun["checkout_url"].rpartition("/")[2]
        assert (await actors.sandbox.pay_session(page)).status == 200
        assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
        paid = await check(actors, payment)
    assert (unpaid["status"], unpaid["amount_remaining"]) == ("pending", 999)
    assert opened["asked_at"] < unpaid["asked_at"] < paid["asked_at"]
    assert opened["asked_at"] < proof["asked_at"]
    when = proof["asked_at"].replace("T", " ")[:19]
    assert proof["verdict"] == (
        f"not paid when the provider was last asked ({when} UTC), nothing granted"
    )
    assert (paid["status"], paid["amount_remaining"]) == ("succeeded", 0)
    proof = await prove(customer, begun)
    assert (proof["consistent"], proof["verdict"]) == (True, "paid once, granted once")
    assert {one["source"] for one in proof["webhooks"]} == {"operator"}
    again = await check(actors, payment)
    assert again == paid | {"asked_at": again["asked_at"]}, "what went back is looked for: nothing"
    assert again["asked_at"] > paid["asked_at"]
    (order,) = (
        await actors.operate("GET", f"/admin/webhooks?source=operator&account_id={customer.id}")
    )["data"]
    assert (order["status"], order["replays"]) == ("handled", 2)
    told = await customer.ask("GET", "/billing/timeline")
    causes = [one["cause"]["words"] for one in told["past"] if one["name"] == "check"]
    assert causes == ["an operator wanted to know"] * 3


async def test_the_payment_of_a_subscription_is_asked_about_by_its_matter(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribe("pro")
    (payment,) = (await customer.ask("GET", "/billing/payments"))["data"]
    async with customer.unheard():
        await customer.pay(begun)
        paid = await check(actors, payment["payment_id"])
        assert (paid["status"], paid["invoice_status"]) == ("succeeded", "paid")
        assert (await customer.subscription())["status"] == "active"


async def test_what_the_provider_does_not_know_cannot_be_asked(actors: Actors) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small", "manual")
    body = {"invoice_id": begun["invoice_id"], "payment_method": "bank_transfer"}
    sent = await customer.ask(
        "POST", "/billing/payments/manual", body | {"transaction_reference": "TRX-1"}
    )
    refused = await check(actors, sent["payment_id"], status=409)
    assert refused["code"] == "PAYMENT_STATE"
    assert (await check(actors, "pay_1", status=404))["code"] == "PAYMENT_NOT_FOUND"
    path = f"/admin/payments/{sent['payment_id']}/check"
    await customer.refused("FORBIDDEN", "POST", path)

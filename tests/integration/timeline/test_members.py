"""A member sees no single use, which may be another user's, in money's lists; and no caller."""

from uuid import uuid4

from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.arrears.deferred_uses import put_off, until
from tests.integration.operator_acts import give
from tests.integration.reversals.refunds_made import refunded
from tests.integration.waiting import body_of, wait_for

PATH = "/billing/timeline?limit=100&upcoming=100"


async def seen(customer: Customer, role: str) -> Json:
    return body_of(await customer.call("GET", PATH, role=role), 200)


def names(shown: Json, half: str) -> set[str]:
    return {one["name"] for one in shown[half]}


async def charged(customer: Customer, amount: str = "1000") -> str:
    """A use of bob that his account's card pays at once: its id."""
    use = {
        "product_id": "gpt-4", "usage_amount": amount, "billing_method": "payment_charge",
        "event_id": str(uuid4()), "user_id": "bob",
    }  # fmt: skip
    return str((await customer.ask("POST", "/usage/record", use, status=201))["billing_id"])


async def void(actors: Actors, customer: Customer, use: str) -> None:
    headers = actors.headers("*", "service") | {"X-Account-Id": customer.id}
    path = f"{API}/billing/records/{use}/void"
    body_of(await actors.client.post(path, json={"reason": "wrong"}, headers=headers), 200)


async def test_a_member_sees_nothing_of_anybodys_single_uses(actors: Actors) -> None:
    """It saw their ids, when they were paid, and with which card."""
    customer = await actors.customer()
    await customer.save_card()
    settled = await put_off(customer, "1000")
    await give(customer, "2")
    await until(customer, settled, "completed")
    use = await charged(customer)
    await void(actors, customer, use)
    await put_off(customer, "1000")

    staff, member = await seen(customer, "billing"), await seen(customer, "member")
    of_uses = {"usage.settled", "usage.voided", "charge", "invoice.credited"}
    assert of_uses <= names(staff, "past")
    assert not of_uses & names(member, "past")
    assert use in str(staff)
    assert "bill_" not in str(member)
    assert "charge_use" in names(staff, "future")
    assert "charge_use" not in names(member, "future")
    assert {"account.created", "credits.adjusted", "tell_unpaid"} <= (
        names(member, "past") | names(member, "future")
    )
    assert member["pagination"]["total"] == len(member["past"]) < len(staff["past"])


async def test_a_member_sees_neither_small_uses_nor_refunds_of_single_uses(actors: Actors) -> None:
    """They name no use but its invoice or payment: a member read their amounts and minutes."""
    customer = await actors.customer()
    await customer.subscribed("basic")
    await charged(customer)
    (_, paid) = (await customer.ask("GET", "/billing/payments"))["data"][::-1]
    await refunded(customer, paid, 100)
    await wait_for(
        lambda: customer.ask("GET", f"/billing/payments/{paid['payment_id']}"),
        "the refund is booked",
        lambda now: now["amount_refunded"] == 100,
    )
    await charged(customer, "50")
    (small, *_) = (await customer.ask("GET", "/billing/invoices"))["data"]

    staff, member = await seen(customer, "billing"), await seen(customer, "member")
    for named in (paid["payment_id"], paid["invoice_id"], small["invoice_id"]):
        assert named in str(staff)
        assert named not in str(member)
    assert "refund.created" in names(staff, "past") - names(member, "past")
    assert "invoice.paid" in names(member, "past"), "that of the subscription"

    staff, member = [
        body_of(await customer.call("GET", "/billing/balance", role=role), 200)
        for role in ("billing", "member")
    ]
    assert [one["amount_cents"] for one in staff["data"]] == [-10]
    without = {"invoice_id": None, "payment_id": None, "reason": None}
    assert member["data"] == [one | without for one in staff["data"]]
    assert member["balance_cents"] == -10


async def test_a_member_finds_no_money_that_paid_a_single_use(actors: Actors) -> None:
    """It saw the product, the minute, the units and the price of a colleague's use."""
    customer = await actors.customer()
    await customer.save_card()
    await customer.bought()
    await void(actors, customer, await charged(customer))

    gone = {}
    for name in ("invoice", "payment", "credit_note"):
        path = f"/billing/{name.replace('_', '-')}s"
        staff, member = [
            body_of(await customer.call("GET", path, role=role), 200)["data"]
            for role in ("billing", "member")
        ]
        (gone[name],) = {one[f"{name}_id"] for one in staff} - {one[f"{name}_id"] for one in member}
        assert len(member) == (0 if name == "credit_note" else 1)
    invoice = f"/billing/invoices/{gone['invoice']}"
    for path in (
        invoice, f"{invoice}/pdf", f"{invoice}/receipt", f"{invoice}/credit-notes",
        f"/billing/payments/{gone['payment']}", f"/billing/credit-notes/{gone['credit_note']}/pdf",
    ):  # fmt: skip
        assert (await customer.call("GET", path)).status_code == 200
        assert (await customer.call("GET", path, role="member")).status_code == 404


async def test_a_member_reads_roles_and_staff_reads_names(actors: Actors) -> None:
    customer = await actors.customer()
    await give(customer, "2")
    causes: dict[str, Json] = {}
    for role in ("billing", "member"):
        shown = (await seen(customer, role))["past"]
        causes[role] = next(one for one in shown if one["name"] == "credits.adjusted")["cause"]
    assert causes["billing"]["actor"].startswith("admin:somebody-")
    assert causes["member"] == causes["billing"] | {
        "actor": "admin", "words": "asked for by admin",
    }  # fmt: skip

"""A member's timeline names no single use, which may be another user's, and no caller."""

from uuid import uuid4

from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.arrears.test_unpaid_uses import grant, put_off, until
from tests.integration.waiting import body_of

PATH = "/billing/timeline?limit=100&upcoming=100"


async def seen(customer: Customer, role: str) -> Json:
    return body_of(await customer.call("GET", PATH, role=role), 200)


def names(shown: Json, half: str) -> set[str]:
    return {one["name"] for one in shown[half]}


async def charged(customer: Customer) -> str:
    """A use of bob that his account's card pays at once: its id."""
    use = {
        "product_id": "gpt-4", "usage_amount": "1000", "billing_method": "payment_charge",
        "event_id": str(uuid4()), "user_id": "bob",
    }  # fmt: skip
    return str((await customer.ask("POST", "/usage/record", use, status=201))["billing_id"])


async def test_a_member_sees_nothing_of_anybodys_single_uses(actors: Actors) -> None:
    """It saw their ids, when they were paid, and with which card."""
    customer = await actors.customer()
    await customer.save_card()
    settled = await put_off(customer, "1000")
    await grant(customer, "2")
    await until(customer, settled, "completed")
    use = await charged(customer)
    headers = actors.headers("*", "service") | {"X-Account-Id": customer.id}
    path = f"{API}/billing/records/{use}/void"
    voided = await actors.client.post(path, json={"reason": "wrong"}, headers=headers)
    assert voided.status_code == 200, voided.text
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


async def test_a_member_reads_roles_and_staff_reads_names(actors: Actors) -> None:
    customer = await actors.customer()
    await grant(customer, "2")
    causes: dict[str, Json] = {}
    for role in ("billing", "member"):
        shown = (await seen(customer, role))["past"]
        causes[role] = next(one for one in shown if one["name"] == "credits.adjusted")["cause"]
    assert causes["billing"]["actor"].startswith("admin:somebody-")
    assert causes["member"] == causes["billing"] | {
        "actor": "admin", "words": "asked for by admin",
    }  # fmt: skip

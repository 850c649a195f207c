"""Acts of an operator on a customer that many tests need."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json, wait_for

WHY = {"reason": "counted twice"}


async def give(customer: Customer, amount: str, **more: Any) -> None:
    """Give the customer credits."""
    body = {"account_id": customer.id, "amount": amount, "reason": "test"} | more
    headers = customer.actors.headers("*", "admin", str(uuid4()))
    answer = await customer.actors.client.post(
        "/api/v1/admin/credits/adjust", json=body, headers=headers
    )
    assert answer.status_code == 201, answer.text


async def walk_to(customer: Customer, to: datetime) -> None:
    """Let the clock walk; under load it finds a matter busy, and is sent on."""

    async def arrived() -> bool:
        seen = await customer.clock()
        if seen["status"] == "blocked":
            await customer.aim_clock(to=to.isoformat())
        return bool(seen["status"] == "ready")

    await customer.aim_clock(to=to.isoformat())
    await wait_for(arrived, f"the clock of {customer.id} arrives", patience=180)


async def check_books(customer: Customer) -> None:
    """Check that the account's books agree, as `GET /admin/integrity` sees them."""
    path = f"/admin/integrity?account={customer.id}"
    report = await customer.actors.operate("GET", path, status=200)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]


async def void(actors: Actors, record: Json) -> Json:
    """Void the record of a use."""
    path = f"/billing/records/{record['billing_id']}/void"
    return await actors.operate("POST", path, WHY, status=200)


async def audited(customer: Customer, action: str) -> list[str]:
    """The subjects of the account's audit entries of this action, in order."""
    rows = await customer.rows(
        "SELECT subject FROM billing_audit WHERE account_id = %(me)s AND action = %(action)s"
        " ORDER BY id",
        action=action,
    )
    return [row["subject"] for row in rows]

"""Changes of plan and seats cost what other systems' public tests say (tests/golden/README.md)."""

import asyncio
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.changes.chosen_plans import change, lines
from tests.integration.coupons.coupons_made import coupon
from tests.integration.on_sale import put_in_turn
from tests.unit.golden.drawn import drawn

SEATS: Final = {"least": 1, "most": 100}


def expressible(given: Json) -> bool:
    """A change from or to a price of nothing begins a new period here; the sources add items."""
    return bool(given.get("old_minor", 1) and given.get("new_minor", 1))


async def on_sale(actors: Actors, every: str, unit_minor: int) -> str:
    key = f"golden-{uuid4().hex[:8]}"
    body = {
        "name": "Golden", "family": "golden", "allowance": every, "seats": SEATS,
        "prices": {every: {"USD": {"amount_minor": unit_minor}}},
    }  # fmt: skip
    await put_in_turn(actors, f"/admin/plans/{key}", body)
    return key


async def begun(actors: Actors, given: Json) -> tuple[Customer, str]:
    """The customer as the case begins, and the interval of the period."""
    start, end = (datetime.fromisoformat(given[f"period_{name}"]) for name in ("start", "end"))
    every = f"{(end - start).days} days"
    customer = await actors.customer_on_clock(given["period_start"])
    await customer.save_card()
    old = int(given["old_minor"] if "old_minor" in given else given["unit_minor"])
    more: Json = {}
    if "paid_minor" in given:
        amounts = {"USD": old * given["quantity_old"] - given["paid_minor"]}
        more["coupon"] = await coupon(actors, amounts=amounts, duration="once")
    await customer.subscribe(
        await on_sale(actors, every, old), interval=every, quantity=given["quantity_old"], **more
    )
    assert (await customer.subscription())["current_period_end"] == end.isoformat().replace(
        "+00:00", "Z"
    )
    if given["at"] != given["period_start"]:
        await customer.advance(to=given["at"])
    return customer, every


async def carry_out(actors: Actors, given: Json, expected: Json) -> None:
    customer, every = await begun(actors, given)
    wanted: dict[str, Any] = {"quantity": given["quantity_new"], "at": "now"}
    if given.get("new_period"):
        wanted["interval"] = every = "month"
    if given.get("old_minor") != given.get("new_minor"):
        wanted["plan"] = await on_sale(actors, every, given["new_minor"])
    before = len(await lines(customer))
    await change(customer, **wanted)

    (written,) = (await lines(customer))[before:]
    amounts = [amount for _, amount in written]
    charged = sum(amount for amount in amounts if amount > 0)
    notes = await customer.rows(
        "SELECT coalesce(sum(amount_minor), 0)::bigint AS minor FROM credit_notes"
        " WHERE account_id = %(me)s"
    )
    credited = charged - sum(amounts) + notes[0]["minor"]
    found = {
        "charge_minor": charged, "credit_minor": credited, "net_minor": charged - credited,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


async def test_changes_cost_what_others_charge_for_them(actors: Actors) -> None:
    found = drawn("proration", ("net", "change"), expressible, stride=4)
    done = await asyncio.gather(
        *(carry_out(actors, given, expected) for _, given, expected in found),
        return_exceptions=True,
    )
    wrong = {name: one for (name, *_), one in zip(found, done, strict=True) if one is not None}
    assert not wrong

"""Contracts: a minimum and a commitment ask for what is missing, and for no more."""

from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tests.integration.walk.diary import Json
from tests.integration.walk.evidence import Case

MINIMUM: Final = 2500
COMMITTED: Final = 6000
MISSING: Final = ("minimum", "commitment")
OTHERS: Final = frozenset({
    "change_plan", "add_ons", "coupon", "credit_note", "void_invoice", "extend_plan", "pause_plan",
    "give_up", "void_use", "give_back", "seats",
})  # fmt: skip
"""In a life with one of these the sums are the product's own to explain."""


def missing_is_charged(case: Case) -> Iterator[str]:
    """The sum agreed less the sum spent, to the cent."""
    if any(one.done and one.name in OTHERS for one in case.entries):
        return
    for row in case.tables["subscriptions"]:
        lines = _lines(case, row)
        for line in lines:
            if line["kind"] == "minimum":
                yield from _minimum(case, row, lines, line)
        if any(line["kind"] == "commitment" for line in lines) and _is_first(case):
            spent = sum(map(_net, lines))
            counted = spent - sum(map(_net, _after(row, lines)))
            if counted != COMMITTED:
                yield f"{counted} was charged by a commitment to {COMMITTED}"


def _minimum(case: Case, row: Json, lines: list[Json], line: Json) -> Iterator[str]:
    start, stop = line["period_start"], line["period_end"]
    whole = [
        one["period_end"]
        for one in case.rows("invoices", subscription_id=row["id"]) if one["period_start"] == start
    ]  # fmt: skip
    part = Decimal((stop - start).total_seconds()) / Decimal(
        (max(whole, default=stop) - start).total_seconds()
    )
    least = int((MINIMUM * part).to_integral_value(ROUND_HALF_UP))
    spent = sum(
        _net(one) for one in lines if one["kind"] not in MISSING and start <= _begins(one) < stop
    )
    if line["amount_minor"] != least - spent:
        yield f"a minimum of {line['amount_minor']} for {least} less {spent}, from {start}"


def _is_first(case: Case) -> bool:
    """True if the one agreement of the life came before its one subscription."""
    agreed = [one.number for one in case.entries if one.name == "agree" and one.done]
    begun = [one.number for one in case.entries if one.name == "subscribe" and one.done]
    return len(agreed) == len(begun) == 1 and agreed[0] < begun[0]


def _after(row: Json, lines: list[Json]) -> list[Json]:
    """The lines of the time behind the commitment; none where the subscription ended with it."""
    closed = max(one["period_end"] for one in lines if one["kind"] == "commitment")
    if row["ended_at"] is not None and row["ended_at"] <= closed:
        return []
    return [one for one in lines if _begins(one) >= closed]


def _lines(case: Case, row: Json) -> list[Json]:
    invoices = case.rows("invoices", subscription_id=row["id"])
    stand = [one for one in invoices if one["status"] in ("open", "paid", "uncollectible")]
    created = {one["id"]: one["created_at"] for one in stand}
    return [
        line | {"created_at": created[line["invoice_id"]]}
        for one in stand for line in case.lines(one)
    ]  # fmt: skip


def _begins(line: Json) -> datetime:
    found: datetime = line["period_start"] or line["created_at"]
    return found


def _net(line: Json) -> int:
    return int(line["amount_minor"]) - int(line["discount_minor"])

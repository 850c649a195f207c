"""Use beyond a plan: billed once, at the price of all of its cycle."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from uuid import UUID

from tests.integration.walk.diary import Entry, Json
from tests.integration.walk.evidence import Case

PLAN: Final = "subscription_included"
PRICES: Final[dict[tuple[str, str], tuple[int, Any]]] = {
    ("basic", "ai_responses"): (500, ((None, "0.02"),)),
    ("basic", "document_uploads"): (50, ((None, "0.10"),)),
    ("pro", "ai_responses"): (5000, ((None, "0.015"),)),
    ("pro", "document_uploads"): (500, ((None, "0.08"),)),
    ("starter", "api_calls"): (10000, ((None, "0.002"),)),
    ("growth", "api_calls"): (100000, ((None, "0.0015"),)),
    ("walk-team", "ai_responses"): (500, ((400, "0.03"), (None, "0.01"))),
}
"""The units of a meter that a plan includes in a month, per seat, and the price beyond them."""
OTHERS: Final = frozenset({
    "change_plan", "add_ons", "void_use", "extend_plan", "agree", "end_contract",
    "void_invoice", "pause_plan", "resume", "cancel_at",
})  # fmt: skip
"""In a life with one of these a cycle, or what it includes, is not like any other."""
WAITING: Final = ("paused", "unpaid")
"""Use is billed when it is resumed, or ends."""


def beyond_is_billed(case: Case) -> Iterator[str]:
    """All lines of a meter and a cycle together are the price of what was recorded beyond it."""
    fewer = [one for one in _seats_moved(case) if _seats(one.after) < _seats(one.before)]
    if fewer or any(one.done and one.name in OTHERS for one in case.entries):
        return
    for (name, meter, start), lines in _lines(case).items():
        (row,) = case.rows("subscriptions", id=name)
        included, tiers = PRICES.get((row["plan_key"], meter), (0, ()))
        if not tiers:
            continue
        stop = max(line["period_end"] for line in lines)
        used = _used(case, row, meter, start, stop)
        cost = _price(used - included * _seats_had(case, row, start, stop), tiers)
        billed = sum(int(line["amount_minor"]) for line in lines)
        if abs(billed - cost) > bool(_seats_moved(case)):
            yield f"{used} {meter} from {start:%Y-%m-%d} cost {billed}, not {cost}"
    waits = any(row["status"] in WAITING for row in case.tables["subscriptions"])
    if not waits and not _seats_moved(case):  # more seats include what was beyond fewer
        yield from _unbilled(case)


def used_until(case: Case, invoice: Json) -> datetime:
    """The instant up to which the cycle of an invoice counts as used, by the units of a meter."""
    (row,) = case.rows("subscriptions", id=invoice["subscription_id"])
    start, stop = invoice["cycle_start"], invoice["cycle_end"]
    shares = [Decimal(0)]
    for (plan, meter), (included, _) in PRICES.items():
        if plan == row["plan_key"] or _had(case, plan):
            shares.append(_used(case, row, meter, start, stop) / included)
    found: datetime = start + (stop - start) * float(min(Decimal(1), max(shares)))
    return found


def _had(case: Case, plan: str) -> bool:
    return any((one.after.get("plan") or {}).get("key") == plan for one in case.entries)


def _unbilled(case: Case) -> Iterator[str]:
    spans = [
        (meter, start, max(line["period_end"] for line in lines))
        for (_, meter, start), lines in _lines(case).items()
    ]
    for entry in _paid_later(case):
        meter, at = entry.body["meter"], entry.clock_to
        if not any(one == meter and start <= at <= stop for one, start, stop in spans):
            yield f"{entry}: {entry.body['total_cost']} beyond the plan is on no invoice"


def _lines(case: Case) -> dict[tuple[UUID, str, datetime], list[Json]]:
    found: dict[tuple[UUID, str, datetime], list[Json]] = defaultdict(list)
    for invoice in case.tables["invoices"]:
        if invoice["subscription_id"] is None or invoice["status"] == "void":
            continue
        for line in case.lines(invoice):
            if line["kind"] == "usage":
                key = (invoice["subscription_id"], line["detail"]["meter"], line["period_start"])
                found[key].append(line)
    return found


def _used(case: Case, row: Json, meter: str, start: datetime, stop: datetime) -> Decimal:
    """The units of a cycle; a use of the instant of an end at once is still its own."""
    found = Decimal(0)
    for entry in _recorded(case):
        at_its_end = entry.clock_to == stop == row["ended_at"]
        if entry.body["meter"] == meter and (start <= entry.clock_to < stop or at_its_end):
            found += Decimal(entry.sent["usage_amount"])
    return found


def _paid_later(case: Case) -> Iterator[Entry]:
    return (one for one in _recorded(case) if Decimal(one.body["total_cost"]) > 0)


def _recorded(case: Case) -> Iterator[Entry]:
    """The uses that a plan took."""
    for one in case.entries:
        if one.name == "record" and one.done and one.body["billing_method"] == PLAN:
            yield one


def _seats_had(case: Case, subscription: Json, start: datetime, stop: datetime) -> Decimal:
    """The seats of a cycle, each for the part of it from which it was there."""
    begun = [one for one in case.entries if one.name == "subscribe" and one.done]
    (first,) = [
        one for one in begun if case.subscription(one.body["subscription_id"]) == subscription
    ]
    found = Decimal(first.command.terms.get("quantity", 1))
    for one in _seats_moved(case):
        if one.after.get("subscription_id") == first.body["subscription_id"]:
            whole = Decimal((stop - start).total_seconds())
            rest = Decimal((stop - max(one.clock_to, start)).total_seconds())
            part = max(Decimal(0), rest / whole) if whole else Decimal(one.clock_to <= start)
            found += part * (_seats(one.after) - _seats(one.before))
    return found


def _seats_moved(case: Case) -> list[Entry]:
    return [one for one in case.entries if _seats(one.after) != _seats(one.before) and one.before]


def _seats(shown: Json) -> int:
    return int(shown.get("quantity") or 0)


def _price(units: Decimal, tiers: Any) -> int:
    cost, below = Decimal(0), 0
    for up_to, price in tiers:
        most = units if up_to is None else min(units, Decimal(up_to))
        cost += max(Decimal(0), most - below) * Decimal(price)
        below = up_to or below
    return int((cost * 100).to_integral_value(ROUND_HALF_UP))

"""No free money: nobody ends with more money, credits or service than was paid for."""

from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from tests.integration.walk.diary import Entry, Json
from tests.integration.walk.evidence import Case, gross, uuid_of

TIMED: Final = ("plan", "add_on")
GIFTS: Final = frozenset({
    "forgive", "refund", "give_back", "dispute", "reverse_order", "void_invoice", "give_up",
    "credit_note", "void_use", "extend_plan",
})  # fmt: skip
"""Commands by which somebody gives something up; a life without one pays all that it used."""
LEAST_CENTS: Final = 6
"""No plan sells a credit for less, with every coupon and by the year."""


def no_more_than_paid(case: Case) -> Iterator[str]:
    """The money that went back to payers, and the money balance, are no more than what came."""
    came = sum(case.received(one) + case.refunds.get(one["id"], 0) for one in _invoices(case))
    back = sum(case.refunds.values()) - sum(_lost_twice(case, one) for one in _invoices(case))
    kept = sum(int(row["amount_minor"]) for row in case.tables["balance_entries"])
    if back + kept > came:
        yield f"{came} came, {back} went back, and {kept} is kept for the account"


def _lost_twice(case: Case, invoice: Json) -> int:
    """Money that a bank took back though it was refunded before: that loss is ours."""
    disputes = case.rows("disputes", state="lost", invoice_id=invoice["id"])
    refunds = case.rows("refunds", status="succeeded", invoice_id=invoice["id"])
    taken, before = (sum(int(row["amount_minor"]) for row in rows) for rows in (disputes, refunds))
    came = case.received(invoice) + case.refunds.get(invoice["id"], 0)
    return min(taken, max(0, taken + before - came))


def used_is_paid(case: Case) -> Iterator[str]:
    """The money that stays covers the time that paid plans ran, unless some was given up."""
    if any(one.done and one.name in GIFTS for one in case.entries):
        return
    case.asked["used_is_paid"] += any(one["status"] == "paid" for one in _invoices(case))
    came = sum(case.received(one) for one in _invoices(case))
    kept = sum(int(row["amount_minor"]) for row in case.tables["balance_entries"])
    used = sum(_used(case, one) for one in _invoices(case) if one["status"] == "paid")
    if came - kept < used:
        yield f"{came} came and {kept} is kept for the account, but {used} was used"


def spent_credits_are_asked_for(case: Case) -> Iterator[str]:
    """Invoices of plans ask for all that was spent of their credits, unless some was given up."""
    if any(one.done and one.name in GIFTS for one in case.entries):
        return
    spent = -sum(
        row["amount"]
        for row in case.tables["credit_transactions"] if row["kind"] in ("debit", "capture")
    )  # fmt: skip
    free = [one for one in case.tables["credit_lots"] if one["kind"] != "plan" or _tried(case, one)]
    others = sum(one["amount"] for one in free)
    asked = 0
    for one in _invoices(case):
        if one["subscription_id"] is not None and one["number"] is not None:
            notes = case.rows("credit_notes", invoice_id=one["id"])
            asked += int(one["total_minor"]) - sum(int(note["amount_minor"]) for note in notes)
    case.asked["spent_credits_are_asked_for"] += spent > others
    if asked < (spent - others) * LEAST_CENTS:
        yield f"{spent - others} credits of plans were spent, and {asked} cents are asked for"


def _tried(case: Case, lot: Json) -> bool:
    """True of the credits of a trial."""
    trials = [one["trial_end"] for one in case.tables["subscriptions"] if one["trial_end"]]
    return any(lot["expires_at"] <= end for end in trials if lot["created_at"] < end)


def returned_credits_are_gone(case: Case) -> Iterator[str]:
    """Credits of a purchase whose money all went back cannot be spent any more."""
    for row in case.tables["purchases"]:
        (invoice,) = case.rows("invoices", id=row["invoice_id"])
        back = case.refunds.get(invoice["id"], 0)
        if not back or case.received(invoice) > 0 or invoice["balance_applied_minor"] > 0:
            continue
        for lot in _lots(case, row):
            if lot["remaining"] - lot["held"] > 0:
                yield f"{back} went back for {row['pack']}, and {lot['remaining']} credits are left"


def taken_back_uses_cost_nothing(case: Case) -> Iterator[str]:
    """A use that was taken back sums up to nothing, and brings back no more than it cost."""
    for entry in case.entries:
        if entry.name != "void_use" or not entry.done:
            continue
        name = uuid_of(entry.sent["billing_id"])
        record = case.rows("billing_records", id=name)[0]
        mirror = case.rows("billing_records", voids=name)
        for field in ("usage_amount", "included_units", "charged_units", "total_amount"):
            if record[field] + sum(one[field] for one in mirror):
                yield f"{entry}: {field} was {record[field]}, and {len(mirror)} took it back"
        yield from _no_more_than_cost(entry, record, case.life.tax)


def _no_more_than_cost(entry: Entry, record: Json, tax: int) -> Iterator[str]:
    returned = Decimal(entry.body["credits_returned"])
    cents = entry.body["balance_cents"] + entry.body["credited_cents"]
    cost = Decimal(record["total_amount"])
    if returned > (cost if record["currency"] == "CREDIT" else 0):
        yield f"{entry}: {returned} credits came back for {cost} {record['currency']}"
    most = cost * (100 + tax) + 1
    if cents > (most if record["currency"] == "USD" else 0):
        yield f"{entry}: {cents} cents came back for {cost} {record['currency']}"


def _invoices(case: Case) -> list[Json]:
    return case.tables["invoices"]


def _lots(case: Case, purchase: Json) -> list[Json]:
    """The lots of the purchase, which their keys name."""
    lots = case.rows("credit_lots", kind="purchase")
    return [one for one in lots if uuid_of(one["grant_key"].partition("/")[0]) == purchase["id"]]


def _used(case: Case, invoice: Json) -> int:
    """The part of what it charged that was served, or use; rounded down."""
    found = 0
    for line in case.lines(invoice):
        cost = gross(line)
        start, stop = line["period_start"], line["period_end"]
        if line["kind"] == "usage":
            found += cost
        if line["kind"] not in TIMED or start is None or stop is None or stop <= start:
            continue
        until = max(start, min(stop, _end(case, invoice)))
        part = Decimal((until - start).total_seconds()) / Decimal((stop - start).total_seconds())
        found += int((cost * part).to_integral_value(ROUND_FLOOR)) - 1
    return found


def _end(case: Case, invoice: Json) -> datetime:
    """The first instant from which it was not served any more: an end, a change, a pause at once,
    or now; or that at which it became unpaid, and stayed so.
    """
    changes = [
        row["created_at"]
        for row in case.rows("subscription_changes", subscription_id=invoice["subscription_id"])
        if row["created_at"] >= invoice["created_at"]
    ]
    ended = [
        at
        for row in case.rows("subscriptions", id=invoice["subscription_id"])
        for at in (row["ended_at"], row["unpaid_at"] if row["ended_at"] else None)
        if at
    ]
    pauses = [
        one.clock_from
        for one in case.entries
        if one.name == "pause_plan"
        and one.done
        and one.sent.get("at") == "now"
        and one.clock_from >= invoice["created_at"]
    ]
    found: datetime = min([*changes, *ended, *pauses, case.entries[-1].clock_to])
    return found

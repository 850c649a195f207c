"""Time: cards are tried when their slots say, and what was foretold comes true."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tests.integration.walk.diary import Entry, Json
from tests.integration.walk.evidence import Case, Charge

TIME: Final = frozenset({"advance", "to_renewal"})
SLOT_DAYS: Final = (0, 3, 7)
SHIFTS: Final = frozenset({
    "pause", "resume_case", "extend", "submit", "approve", "reject", "settle",
})  # fmt: skip
"""Commands that move slots, or keep a card waiting."""
UNDECIDED: Final = frozenset({"action", "processing", "unreached", "pending"})


def tries_on_slots(case: Case) -> Iterator[str]:
    """While only time goes by, a card is tried on day 0, 3 or 7 of its invoice, at its hour."""
    attempts = {row["key"]: row for row in case.tables["payment_attempts"]}
    for entry in case.entries:
        if entry.name not in TIME:
            continue
        for one in case.charges_in(entry):
            row = attempts.get(one.key or "")
            if not one.by_product or one.matter.startswith(("purchase/", "charge/")):
                continue
            if row is None:
                yield f"{entry}: {one.name} under {one.key}, which no attempt has"
            elif not entry.clock_from <= row["started_at"] <= entry.clock_to:
                yield f"{entry}: {one.key} says it was tried at {row['started_at']}"
            else:
                yield from _on_its_slot(case, entry, one, row)


def _on_its_slot(case: Case, entry: Entry, one: Charge, row: Json) -> Iterator[str]:
    invoice = case.invoice(one.invoice)
    if invoice is None or invoice["status"] == "draft":
        return
    first = invoice["period_start"] or invoice["due_at"] or invoice["created_at"]
    slots = [_days_after(first, days, zone) for days in SLOT_DAYS for zone in case.zones]
    at = row["started_at"]
    case.asked["tries_on_slots"] += not _shifted(case, entry)
    told = f"{entry}: {one.key} was tried at {at}, its slots are {[str(slot) for slot in slots]}"
    if _shifted(case, entry):
        if at < min(slots):
            yield told
    elif at not in slots:
        yield told


def _shifted(case: Case, until: Entry) -> bool:
    """True if somebody moved a slot before, or a bank or payer may have kept a card waiting."""
    past = [one for one in case.entries[: until.number] if one.done]
    words = {word for one in past if one.name == "script" for word in one.command.terms["words"]}
    slow = words & {"processing", "authentication_required"}
    debits = any("BankAccount" in one.command.terms.get("card", "") for one in past)
    return bool(slow) or debits or any(one.name in SHIFTS for one in past)


def _days_after(first: datetime, days: int, zone: str) -> datetime:
    """So many days later at the same wall time of the zone."""
    wall = first.astimezone(ZoneInfo(zone)) + timedelta(days=days)
    return wall.astimezone(UTC)


def came_true(case: Case) -> Iterator[str]:
    """If all cards paid, the charges are those that were shown, to the cent and in order."""
    for entry in case.entries:
        if entry.name not in TIME or not entry.done or not _is_comparable(case, entry):
            continue
        shown = [
            one["amount_cents"] for one in entry.foretold
            if one["name"] == "charge" and " by " in one["words"]
            and datetime.fromisoformat(one["at"]) <= entry.clock_to
        ]  # fmt: skip
        seen = [
            one.amount for one in case.charges_in(entry) if not one.matter.startswith("purchase/")
        ]
        case.asked["came_true"] += bool(seen)
        if shown != seen:
            yield f"{entry}: charges of {shown} were shown, {seen} came"


def _is_comparable(case: Case, entry: Entry) -> bool:
    """Without conditions, declines or waiting banks, and with all of the future shown."""
    coming = [one for one in entry.foretold if datetime.fromisoformat(one["at"]) <= entry.clock_to]
    whole = len(coming) < len(entry.foretold) or len(coming) < 40
    # Which card pays a use that was put off, and how much of it, is decided then.
    conditions = any(
        one["only_if"] or one["name"] == "charge_use"
        for one in coming if one["name"] in ("charge", "charge_use")
    )  # fmt: skip
    calm = all(one.took_money and one.by_product for one in case.charges_in(entry))
    undecided = any(
        row["status"] in UNDECIDED and entry.clock_from <= row["started_at"] <= entry.clock_to
        for row in case.tables["payment_attempts"]
    )
    # What had taken a part of the balance was given up: that is there for others then.
    returned = any(
        entry.clock_from < row["at"] <= entry.clock_to
        for row in case.rows("balance_entries", kind="returned")
    )
    waits = undecided or _waits(case, entry)
    return whole and calm and not (conditions or returned or waits)


def _waits(case: Case, entry: Entry) -> bool:
    """True if a bank has not decided on a charge as time begins to go by, or begins to then."""
    begun = {one.id for one in case.charges if one.name == "charge.pending"
             and one.seq <= entry.ended}  # fmt: skip
    decided = {one.id for one in case.charges if one.name != "charge.pending"
               and one.seq <= entry.began}  # fmt: skip
    return bool(begun - decided)

"""Answers: a command that was done stays done, and no answer is a fault of ours."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from tests.integration.walk.diary import Entry, Json
from tests.integration.walk.evidence import Case, uuid_of

ENDED: Final = frozenset({"canceled", "incomplete_expired"})
AT_ONCE: Final = frozenset({"incomplete", "unpaid", "paused"})
CANCELS: Final = frozenset({"cancel", "cancel_at", "cancel_while_paying"})


def ends(case: Case) -> Iterator[tuple[Entry, str, datetime]]:
    """Each answered cancel, with its subscription and the instant at which that ends."""
    for entry in case.entries:
        if entry.name not in CANCELS or not entry.done:
            continue
        at_once = (
            entry.command.terms.get("at") == "now"
            or entry.before.get("status") in AT_ONCE
            or entry.body["status"] in ENDED
        )
        name = entry.body["subscription_id"]
        yield entry, name, entry.clock_from if at_once else _planned(case, entry, name)


def _planned(case: Case, cancel: Entry, name: str) -> datetime:
    """The date that was said, or the end of the period, which another plan may have begun anew."""
    asked = case.entries[cancel.number : withdrawn(case, cancel, name)]
    changed = [
        one for one in asked
        if one.name == "change_plan" and one.done and one.body["subscription_id"] == name
    ]  # fmt: skip
    last = [cancel, *changed][-1].body
    return datetime.fromisoformat(last["cancel_at"] or last["current_period_end"])


def withdrawn(case: Case, cancel: Entry, name: str) -> int:
    """The number of the entry by which a cancel was taken back, or another end asked for; beyond
    all where it was not.
    """
    later = [
        one.number
        for one in case.entries
        if one.name in ("reactivate", "extend_plan", *CANCELS)
        and one.done and one.number > cancel.number
        and one.body["subscription_id"] == name
    ]  # fmt: skip
    return min(later, default=len(case.entries) + 1)


def cancel_stands(case: Case) -> Iterator[str]:
    """Ended, or an end is planned, in all that is shown afterwards."""
    for cancel, name, end in ends(case):
        until = withdrawn(case, cancel, name)
        for entry in case.entries[cancel.number : until]:
            shown = entry.after
            if shown.get("subscription_id") != name or shown["status"] in ENDED:
                continue
            planned = shown["cancel_at_period_end"] or shown["cancel_at"]
            planned = planned or shown["status"] == "incomplete"
            if not planned or (entry.clock_to > end and shown["status"] != "incomplete"):
                yield (
                    f"{cancel} ended {name} at {end:%Y-%m-%d %H:%M}; after {entry} it is"
                    f" {shown['status']}, cancel_at_period_end {shown['cancel_at_period_end']}"
                )
                return


def stays_done(case: Case) -> Iterator[str]:
    """The change a 2xx told of is there in the next look, and in the rows at the end."""
    for entry in case.entries:
        if not entry.done:
            continue
        if entry.name == "forgive":
            yield from _stays_forgiven(case, entry)
        if entry.name == "reactivate" and entry.after.get("cancel_at_period_end"):
            yield f"{entry}: an end is planned still"
        if entry.name == "add_ons" and entry.status == 200:
            yield from _add_ons_as_asked(entry)
        if entry.name == "buy" and not case.rows("purchases", pack=entry.sent["pack"]):
            yield f"{entry}: there is no such purchase"


def _stays_forgiven(case: Case, entry: Entry) -> Iterator[str]:
    rows = [
        row for row in case.tables["invoices"] if row["id"] == uuid_of(entry.sent["invoice_id"])
    ]
    # A bank that was deciding already may say yes: its money is kept on the balance.
    begun = {
        one.id for one in case.charges if one.name == "charge.pending" and one.seq <= entry.ended
    }
    later = [
        one
        for one in case.charges
        if one.seq > entry.ended and one.took_money and one.id not in begun
    ]
    for row in rows:
        if row["status"] not in ("paid", "void"):
            yield f"{entry}: the invoice is {row['status']}"
        if any(one.invoice == row["id"] for one in later):
            yield f"{entry}: the invoice was charged afterwards"


def _add_ons_as_asked(entry: Entry) -> Iterator[str]:
    wanted = entry.command.terms["quantity"]
    kept = sum(one["quantity_next_period"] for one in entry.after.get("add_ons", []))
    if kept != wanted:
        yield f"{entry}: {kept} add-ons are kept"


def unpaid_change_is_not_given(case: Case) -> Iterator[str]:
    """More of an add-on or seats is charged first; where the card declines, all is as before."""
    for entry in case.entries:
        if entry.name not in ("add_ons", "change_plan", "seats"):
            continue
        tries = [one for one in case.charges_in(entry) if one.by_product]
        if not any(one.was_declined for one in tries) or any(one.took_money for one in tries):
            continue
        before, after = _quantity(entry.before), _quantity(entry.after)
        if after > before:
            yield f"{entry}: the card declined, and there are {after} of it, not {before}"
        if entry.before.get("status") != entry.after.get("status"):
            yield f"{entry}: the card declined, and it is {entry.after.get('status')}"


def no_fault(case: Case) -> Iterator[str]:
    """No 5xx: nothing was away in this life."""
    for entry in case.entries:
        if entry.status >= 500:
            yield f"{entry}: {entry.body.get('detail', '')}"


def _quantity(shown: Json) -> int:
    """Of add-ons, and of seats."""
    seats: int = shown.get("quantity") or 0
    return seats + sum(int(one["quantity"]) for one in shown.get("add_ons", []))

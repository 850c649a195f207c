"""Ends with a credit or a refund: no more than what is not used, and back the way it came."""

from collections.abc import Iterator

from tests.integration.walk.diary import Entry, Json
from tests.integration.walk.evidence import Case
from tests.integration.walk.promises.gains import GIFTS
from tests.integration.walk.promises.plan_changes import CENT, unused

REASONS = ("time not used", "time not served")


def no_more_than_unused(case: Case) -> Iterator[str]:
    """The notes of an end come to no more than the price of the time behind it."""
    for entry, name in _ends(case):
        row = case.subscription(name)
        back = most = rounded = 0
        for invoice in case.rows("invoices", subscription_id=row["id"]):
            back += sum(int(note["amount_minor"]) for note in _notes(case, invoice, row))
            if invoice["number"] is not None:
                most += unused(case, invoice, row["ended_at"])
                rounded += len(case.lines(invoice)) * (2 if case.life.tax else 1)
        if back > most + rounded * CENT:
            yield f"{entry}: {back} came back, and {most} was not used"


def goes_back(case: Case) -> Iterator[str]:
    """The sum that was told is at the provider; without another cause all of it is."""
    for entry, name in _ends(case):
        given = entry.body["given_back"]
        if given is None or entry.sent["refund"] != "refund":
            continue
        credited, told = given["credited_cents"], given["refunded_cents"]
        if told + given["balance_cents"] != credited or not 0 <= told <= credited:
            yield f"{entry}: {given} does not add up"
        # What a payment under way brought came after the answer.
        late = {one["id"] for one in case.tables["payments"] if one["rest_refund"] is not None}
        of_end = (one for one in case.tables["refunds"] if _is_of(one, name))
        rows = [one for one in of_end if one["payment_id"] not in late]
        for one in (one for one in rows if one["status"] == "succeeded"):
            if case.refunds.get(one["invoice_id"], 0) < one["amount_minor"]:
                yield f"{entry}: {one['amount_minor']} is not at the provider"
        kept = [one for one in rows if one["status"] == "failed"]
        back = sum(int(one["amount_minor"]) for one in rows)
        if not kept and back != told:
            yield f"{entry}: {told} was told, and {back} goes back"
        if told < credited and not kept and not _has_cause(case):
            yield f"{entry}: {credited} was paid and not used, and only {told} goes back"


def _ends(case: Case) -> Iterator[tuple[Entry, str]]:
    for entry in case.entries:
        if entry.name == "cancel" and entry.done and "refund" in entry.sent:
            yield entry, entry.body["subscription_id"]


def _is_of(refund: Json, subscription: str) -> bool:
    return str(refund["key"]).startswith(f"{subscription}/ended/")


def _notes(case: Case, invoice: Json, subscription: Json) -> list[Json]:
    """Those that were written with the end."""
    return [
        note
        for note in case.rows("credit_notes", invoice_id=invoice["id"])
        if note["created_at"] == subscription["ended_at"]
        and any(str(note["reason"]).startswith(one) for one in REASONS)
    ]


def _has_cause(case: Case) -> bool:
    """True where the money balance or a hand has paid, or money was given back or given up."""
    entries = case.tables["balance_entries"]
    balance = any(one["kind"] not in ("credited", "refunded") for one in entries)
    by_hand = any(one["flow"] == "manual" for one in case.tables["payments"])
    return balance or by_hand or any(one.done and one.name in GIFTS for one in case.entries)

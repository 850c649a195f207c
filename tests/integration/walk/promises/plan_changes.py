"""Changes of plan and coupons: charged as previewed, and nothing comes back but what was unused."""

from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tests.integration.walk.diary import Json
from tests.integration.walk.evidence import Case, gross, uuid_of

CENT: Final = 1
NOT_USED: Final = ("time not used", "add-on not used")
"""The reasons on notes that changes of plan and add-ons write."""
TIMED: Final = ("plan", "add_on")


def charged_as_previewed(case: Case) -> Iterator[str]:
    """A change of plan takes what its preview said: one charge, and one for the use of a cycle
    that ends with it.
    """
    for entry in case.entries:
        seen = entry.sent.get("preview") if entry.name == "change_plan" else None
        if seen is None:
            continue
        tries = [one for one in case.charges_in(entry) if one.by_product]
        due = seen["due_now_cents"]
        taken = [one.amount for one in tries if one.took_money]
        used = _used_cents(seen)
        if any(one.amount not in (due, due - used, used) for one in tries) or sum(taken) > due:
            yield f"{entry}: previewed at {due}, charged {[one.amount for one in tries]}"
        if entry.before.get("collection") == "send_invoice":
            continue  # it is sent
        if entry.status == 200 and due and seen["change"] is not None and not tries:
            yield f"{entry}: {due} was due, and no card was tried"


def _used_cents(seen: Json) -> int:
    """The price of the use of a cycle that ends with a previewed change."""
    return int(seen["usage"]["amount_due_cents"]) if seen.get("usage") else 0


def comes_as_changed(case: Case) -> Iterator[str]:
    """A change that was done counts at once, or waits for the end of its period; else nothing."""
    for entry in case.entries:
        seen = entry.sent.get("preview") if entry.name == "change_plan" else None
        if seen is None:
            continue
        before, after = _plan(entry.before), _plan(entry.after)
        if entry.status == 200 and after != seen["plan"]:
            yield f"{entry}: it is {after}, and the preview said {seen['plan']}"
        if entry.status >= 400 and after != before:
            yield f"{entry}: it was {before} and is {after}"


def no_more_than_unused(case: Case) -> Iterator[str]:
    """Plan changes give back of a subscription's invoices no more than the time behind the first
    of them; an invoice that others had paid for gives its money back to those.
    """
    for row in case.tables["subscriptions"]:
        back = most = rounded = 0
        for invoice in case.rows("invoices", subscription_id=row["id"]):
            at = _first_change(case, invoice)
            if at is not None and invoice["number"] is not None:
                back += given_back(case, invoice)
                most += unused(case, invoice, at)
                rounded += len(case.lines(invoice)) * (2 if case.life.tax else 1)
        if back > most + rounded * CENT:
            yield f"{row['plan_key']}: {back} came back, and {most} was not used"


def given_back(case: Case, invoice: Json) -> int:
    """Credits of an invoice for time not used: lines of later invoices, and notes."""
    return sum(-gross(line) for line in _credits(case, invoice)) + sum(
        int(note["amount_minor"]) for note in _notes(case, invoice)
    )


def given_up(case: Case, invoice: Json) -> int:
    """Credits of an invoice by an operator: nobody gives them back again."""
    return sum(
        int(note["amount_minor"])
        for note in case.tables["credit_notes"]
        if _is_of(note, invoice) and note not in _notes(case, invoice)
    )


def unused(case: Case, invoice: Json, at: datetime) -> int:
    """The part for time after `at` of what it charged, each line rounded for itself."""
    found = 0
    for line in case.lines(invoice):
        start, stop = line["period_start"], line["period_end"]
        if line["kind"] not in TIMED or start is None or stop is None:
            continue
        stop = _with_days_given(case, invoice, stop)
        if stop <= at:
            continue
        part = Decimal((stop - max(at, start)).total_seconds()) / Decimal(
            (stop - start).total_seconds()
        )
        found += _rounded(Decimal(gross(line)) * part)
    return found


def _with_days_given(case: Case, invoice: Json, stop: datetime) -> datetime:
    """The end of what a line charges, days that an operator gave within its time with it."""
    mine = case.rows("subscription_changes", subscription_id=invoice["subscription_id"])
    given = [one for one in mine if one["kind"] == "extend"]
    for one in sorted(given, key=lambda one: (one["created_at"], one["id"])):
        if invoice["created_at"] <= one["created_at"] < stop:
            stop = max(stop, one["effective_at"])
    return stop


def coupons_take_off(case: Case) -> Iterator[str]:
    """A fifth with WALK20 alone, on each line of a period that began while it was redeemed, but for
    earlier use.
    """
    for row in case.tables["subscriptions"]:
        cheaper = [
            one
            for one in case.rows("invoices", subscription_id=row["id"])
            if one["cycle_start"] is not None and _only_a_fifth(case, one)
        ]
        since = min((one["cycle_start"] for one in cheaper), default=None)
        for invoice in cheaper:
            for line in case.lines(invoice):
                amount = int(line["amount_minor"])
                is_before = line["kind"] == "usage" and line["period_start"] < since
                wanted = _rounded(Decimal(amount) / 5) if amount > 0 and not is_before else 0
                if abs(int(line["discount_minor"]) - wanted) > CENT:
                    yield (
                        f"{invoice['number']}: {line['discount_minor']} is off {amount} of"
                        f" {line['description']}, not {wanted}"
                    )


def _only_a_fifth(case: Case, invoice: Json) -> bool:
    """True if WALK20 was redeemed before, and no coupon was touched but that."""
    touched = [one for one in case.entries if one.name in ("coupon", "take_off") and one.done]
    subscribed = [one for one in case.entries if one.name == "subscribe" and one.done]
    return (
        len(touched) == 1
        and len(subscribed) == 1
        and touched[0].command.terms["code"] == "WALK20"
        and touched[0].name == "coupon"
        and bool(invoice["created_at"] > touched[0].clock_to)
    )


def _first_change(case: Case, invoice: Json) -> datetime | None:
    """The instant of the first that came after it."""
    notes = [note["created_at"] for note in _notes(case, invoice)]
    credited = {line["invoice_id"] for line in _credits(case, invoice)}
    written = [one["created_at"] for one in case.tables["invoices"] if one["id"] in credited]
    mine = case.rows("subscription_changes", subscription_id=invoice["subscription_id"])
    applied = [
        one["decided_at"] for one in mine
        if one["kind"] in ("plan", "add_ons") and one["status"] == "applied"
        and one["invoice_id"] != invoice["id"] and one["decided_at"] >= invoice["created_at"]
    ]  # fmt: skip
    return min([*notes, *written, *applied], default=None)


def _credits(case: Case, invoice: Json) -> list[Json]:
    return [
        line
        for line in case.rows("invoice_lines", kind="proration")
        if line["detail"].get("invoice") == str(invoice["id"])
        and (case.invoice(line["invoice_id"]) or {})["status"] != "void"
    ]


def _notes(case: Case, invoice: Json) -> list[Json]:
    notes = [one for one in case.tables["credit_notes"] if _is_of(one, invoice)]
    return [one for one in notes if one["reason"] in NOT_USED]


def _is_of(note: Json, invoice: Json) -> bool:
    """True if it takes back a part of this invoice, be it on one that paid for it."""
    _, of, name = str(note["fact_key"]).rpartition("/of/")
    return bool((uuid_of(name) if of else note["invoice_id"]) == invoice["id"])


def _rounded(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_HALF_UP))


def _plan(shown: Json) -> str | None:
    plan = shown.get("plan")
    return str(plan["key"]) if plan else None

"""Money: charges with their reasons, and where it is."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from typing import Final

from tests.integration.walk.diary import Entry, Json
from tests.integration.walk.evidence import Case, Charge, gross, uuid_of
from tests.integration.walk.promises import plan_changes, usage
from tests.integration.walk.promises.words import ends, withdrawn

# How many cards a command may have tried at once for the same account.
ASKED: Final = {
    "subscribe": 1, "seats": 1, "pay": 1, "buy": 1, "charge": 1, "add_ons": 1, "change_plan": 2,
    "retry_now": 1, "resume": 1,
    "confirm": 0, "authenticate": 0, "forgive": 0, "approve": 0, "script": 0, "refund": 0,
    "give_back": 0,    "dispute": 0, "cancel_at": 0, "pause_plan": 0, "extend_plan": 0,
    "reactivate": 0, "coupon": 0, "take_off": 0, "pause": 0, "extend": 0, "release": 0,
    "submit": 0, "approve_order": 0, "settle_order": 0, "reverse_order": 0, "void_invoice": 0,
    "give_up": 0, "credit_note": 0, "void_use": 0, "agree": 0, "end_contract": 0,
}  # fmt: skip
"""Any other command may ask or plan more: debts behind a new card, top-ups. A change of plan may
end a cycle, whose use is charged too.
"""
SHORTFALLS: Final = ("minimum", "commitment")
"""Lines up to the least that was agreed; an end owes them too."""
MOST_TRIES: Final = 15
WINDOW: Final = timedelta(days=30)


def no_charge_after_a_cancel(case: Case) -> Iterator[str]:
    """Each invoice takes, after the cancel, no more than was served before the end."""
    for cancel, name, end in ends(case):
        until = withdrawn(case, cancel, name)
        last = case.entries[until].began if until < len(case.entries) else None
        row = case.subscription(name)
        for invoice in case.rows("invoices", subscription_id=row["id"]):
            after = [
                one for one in case.charges
                if one.took_money and one.invoice == invoice["id"] and one.seq > cancel.answered
                and (last is None or one.seq <= last)
            ]  # fmt: skip
            taken = sum(one.amount for one in after) - case.refunds.get(invoice["id"], 0)
            # A change that was asked for after the cancel, and another one that took it back.
            taken -= plan_changes.given_back(case, invoice)
            if all(_was_under_way(case, one, cancel) for one in after):
                taken -= _kept(case, invoice)
            served = _served(case, cancel, invoice, end)
            if taken > max(0, served):
                yield (
                    f"{cancel} ended {name} at {end:%Y-%m-%d %H:%M}, and {taken} was charged after"
                    f" it for {_words(invoice)}, of which {served} was served"
                )


def _was_under_way(case: Case, charge: Charge, cancel: Entry) -> bool:
    """True if the bank had this charge of a period that had begun, and was not decided yet."""
    begun = any(
        one.id == charge.id and one.name == "charge.pending" and one.seq <= cancel.answered
        for one in case.charges
    )
    return begun and cancel.before.get("status") != "incomplete"


def _kept(case: Case, invoice: Json) -> int:
    """Money that was too much for an invoice, and is the customer's with us."""
    entries = case.rows("balance_entries", invoice_id=invoice["id"])
    return sum(max(0, int(row["amount_minor"])) for row in entries)


def _served(case: Case, cancel: Entry, invoice: Json, end: datetime) -> int:
    """The most an invoice may ask for when its subscription ends at `end`."""
    if cancel.before.get("status") == "incomplete" and cancel.name == "cancel":
        return 0
    carried = max(0, -int(invoice["balance_applied_minor"]))
    return carried + sum(_part_served(line, end) for line in case.lines(invoice))


def _part_served(line: Json, end: datetime) -> int:
    start, stop = line["period_start"], line["period_end"]
    amount = gross(line) + int(line["discount_minor"])
    if line["kind"] in ("usage", *SHORTFALLS) or start is None or stop is None:
        return amount
    part = Decimal((min(end, stop) - start).total_seconds()) / Decimal(
        (stop - start).total_seconds()
    )
    share = amount * max(Decimal(0), min(Decimal(1), part))
    return int(share.to_integral_value(ROUND_CEILING))


def no_day_twice(case: Case) -> Iterator[str]:
    """The paid periods of a subscription do not overlap, but where a change gave the rest back."""
    for row in case.tables["subscriptions"]:
        paid = []
        for invoice in case.rows("invoices", subscription_id=row["id"]):
            start, stop = invoice["period_start"], invoice["period_end"]
            if start is None or case.received(invoice) <= 0:
                continue
            stop = min(stop, row["ended_at"]) if row["ended_at"] else stop
            stop = min([stop, *(at for at in _paused(case) if start <= at)])
            paid.append((start, stop, str(invoice["id"]), invoice))
        paid.sort(key=lambda one: one[:3])
        for (_, before, _, first), (after, _, _, second) in pairwise(paid):
            # Time whose units are used is not given back, where another period begins.
            since = max(after, usage.used_until(case, first))
            given = plan_changes.given_back(case, first) + plan_changes.given_up(case, first)
            if after < before and given + plan_changes.CENT < (
                plan_changes.unused(case, first, since)
            ):
                yield f"{_words(first)} and {_words(second)} were both paid"


def _paused(case: Case) -> list[datetime]:
    """Instants of pauses at once: they give nothing back, and what resumes is a new period."""
    return [
        one.clock_to
        for one in case.entries
        if one.name == "pause_plan" and one.done and one.command.terms["at"] == "now"
    ]


def asked_or_planned(case: Case) -> Iterator[str]:
    """A command that settles or changes something makes the product try no other card."""
    for entry in case.entries:
        most = ASKED.get(entry.name)
        if most is None or entry.command.terms.get("percent", 100) < 100:
            continue  # a part was approved: the slots collect the rest
        tries = [
            one for one in case.charges_in(entry)
            if one.by_product and not one.matter.startswith("purchase/")
        ]  # fmt: skip
        own = [one for one in case.charges_in(entry) if one.by_product]
        found = own if entry.name in ("buy", "charge") else tries
        if len(found) > most:
            yield f"{entry}: {[_charge_words(case, one) for one in found]}"
    yield from _settled_alone(case)


def _settled_alone(case: Case) -> Iterator[str]:
    """The product takes no further money by itself once a bank has said yes."""
    for entry in case.entries:
        if entry.name == "settle" and entry.command.terms["outcome"] == "succeed":
            tries = [one for one in case.charges_in(entry) if one.by_product and one.took_money]
            if tries:
                yield f"{entry}: {[_charge_words(case, one) for one in tries]}"


def adds_up(case: Case) -> Iterator[str]:
    """Money in = what numbered invoices took + the money balance + what drafts hold."""
    taken = sum(one.amount for one in case.charges if one.took_money)
    taken += sum(one.taken for one in case.orders)
    hands = sum(
        int(row["received_minor"])
        for row in case.rows("payments", flow="manual") if row["status"] == "completed"
    )  # fmt: skip
    by_hand = case.rows("refunds", way="outside", status="succeeded")
    hands -= sum(int(row["amount_minor"]) for row in by_hand)
    money = taken + hands - sum(case.refunds.values())
    money += sum(int(row["loss_minor"]) for row in case.rows("disputes", state="lost"))
    billed = left = 0
    for invoice in case.tables["invoices"]:
        if invoice["number"] is None:
            left -= int(invoice["amount_paid_minor"]) if invoice["status"] == "draft" else 0
            continue
        notes = sum(
            int(note["amount_minor"])
            for note in case.rows("credit_notes", invoice_id=invoice["id"])
        )
        billed += int(invoice["total_minor"]) - notes
        left += (
            int(invoice["amount_due_minor"]) - int(invoice["amount_paid_minor"])
            - int(invoice["amount_credited_minor"])
        )  # fmt: skip
    gifts = ("adjusted", "adjustment")
    entries = case.tables["balance_entries"]
    balance = sum(int(row["amount_minor"]) for row in entries)
    money += sum(int(row["amount_minor"]) for row in entries if row["kind"] in gifts)
    if money - billed != balance - left:
        yield (
            f"{money} came in and {billed} was billed, but the balance is {balance} and {left} is"
            f" still owed: {money - billed - balance + left} differ"
        )
    for invoice in case.tables["invoices"]:
        came = case.received(invoice) + case.refunds.get(invoice["id"], 0)
        if int(invoice["amount_paid_minor"]) > came:
            yield f"{_words(invoice)} counts as paid with more than the {came} that came"


def no_more_back_than_came(case: Case) -> Iterator[str]:
    """At most what came for an invoice goes back; a bank that takes more makes a loss of it.

    A refund that was done moved its money.
    """
    for invoice in case.tables["invoices"]:
        lost = case.rows("disputes", invoice_id=invoice["id"], state="lost")
        left = case.received(invoice) + sum(int(row["loss_minor"]) for row in lost)
        if left < 0:
            yield f"more went back than came for {_words(invoice)}: {-left}"
    moved = sum(case.refunds.values())
    told = [
        *case.rows("refunds", way="provider", status="succeeded"),
        *case.rows("disputes", state="lost"),
    ]
    if moved != sum(int(row["amount_minor"]) for row in told):
        yield f"{moved} went back at the provider, and {len(told)} rows tell of something else"


def cards_stay_barred(case: Case) -> Iterator[str]:
    """After `stolen_card` a saved card is not tried again; none over 15 times in 30 days."""
    attempts = {row["key"]: row for row in case.tables["payment_attempts"]}
    barred: set[str] = set()
    tries: dict[str, list[datetime]] = {}
    for one in case.charges:
        row = attempts.get(one.key or "")
        if not one.by_product or one.method is None or row is None:
            continue
        if one.method in barred:
            yield f"{_charge_words(case, one)} with a card that is stolen"
            return
        at = row["started_at"]
        recent = [past for past in tries.get(one.method, []) if past > at - WINDOW]
        tries[one.method] = [*recent, at]
        if len(recent) >= MOST_TRIES:
            yield f"{_charge_words(case, one)} is try {len(recent) + 1} of {one.method}"
        if one.was_declined and row["decline_code"] == "stolen_card":
            barred.add(one.method)


def named_card(case: Case) -> Iterator[str]:
    """Renewals take the card that was named at subscribe, until another is chosen."""
    for entry in case.entries:
        chosen = entry.sent.get("payment_method_id")
        if entry.name != "subscribe" or not entry.done or chosen is None:
            continue
        (method,) = case.rows("payment_methods", id=uuid_of(chosen))
        row = case.subscription(entry.body["subscription_id"])
        until = _next_choice(case, entry)
        for one in case.charges:
            mine = (case.invoice(one.invoice) or {}).get("subscription_id") == row["id"]
            if not mine or not one.by_product or not entry.began < one.seq <= until:
                continue
            # The same card has another id at the provider once it was confirmed anew.
            tries = case.rows("payment_attempts", key=one.key, payment_method_id=method["id"])
            if one.method and one.method != method["stripe_payment_method_id"] and not tries:
                yield f"{entry}: {_charge_words(case, one)} went to another card"
                return
            if _is_stolen(case, one):
                return  # it gives way to the default from here on


def _is_stolen(case: Case, charge: Charge) -> bool:
    tries = case.rows("payment_attempts", key=charge.key, decline_code="stolen_card")
    return charge.was_declined and bool(tries)


def _next_choice(case: Case, entry: Entry) -> int:
    """Up to here no other card was saved, named or asked for."""
    choices = (
        "save_card",
        "backup",
        "pay",
        "retry_now",
        "confirm",
        "subscribe",
        "change_plan",
        "cancel_while_paying",
    )
    later = [
        one.began for one in case.entries[entry.number + 1 :] if one.name in choices and one.done
    ]
    return min(later, default=case.entries[-1].ended)


def _charge_words(case: Case, one: Charge) -> str:
    return f"{one.name} of {one.amount} for {_words(case.invoice(one.invoice))} ({one.key})"


def _words(invoice: Json | None) -> str:
    if invoice is None:
        return "no invoice"
    start, stop = invoice["period_start"], invoice["period_end"]
    period = f" of {start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M}" if start else ""
    return f"{invoice['number'] or invoice['status']}{period}"

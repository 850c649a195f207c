"""Previews: a command decided over the subscription's current rows, and never written. Pure.

It is the very command, so what is previewed is charged; the digest shows if that is still true.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from billing.catalog.rating.schemas import Then
from billing.core.frozen import Frozen
from billing.ledger.credits import verbs
from billing.matters.agenda import Step, head
from billing.matters.effects import Add, Do, Effect, Issue, Rows, Work
from billing.money.discounts.schemas import IN_FORCE, Discount
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice, InvoiceLine
from billing.money.refunds.schemas import Refund
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import true_ups
from billing.money.subscriptions.rules import agenda
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange
from billing.money.subscriptions.transitions import transition
from billing.money.subscriptions.views import view

COMING: Final = ("renew", "end_trial", "end", "end_unpaid", "pause", "close_commitment")
SUMS: Final = {
    "subtotal_minor", "discount_minor", "tax_minor", "total_minor", "amount_due_minor",
    "balance_applied_minor",
}  # fmt: skip
_LINE: Final = {"kind", "quantity", "unit_amount", "amount_minor", "discount_minor", "taxes"}
_LASTING: Final = {
    "status", "plan_id", "price_id", "amount_minor", "minimum_minor", "interval_unit",
    "interval_count", "collection", "cancel_at_period_end", "cancel_at",
}  # fmt: skip
# A change sets these to its own instant, and a preview was made before.
_OF_THE_INSTANT: Final = {"updated_at", "minimum_since", "minimum_before_minor", "minimum_share"}


class Written(Frozen):
    """An invoice that would be written."""

    invoice: Invoice
    lines: tuple[InvoiceLine, ...]


class Upcoming(Frozen):
    """The end of the current period: its step, and the invoice which that step writes."""

    at: datetime
    step: str
    written: Written | None


class OverLimit(Frozen):
    """A meter that was used more in the open cycle than a whole cycle of the plan includes."""

    meter: str
    used: Decimal
    included: Decimal
    then: Then


class Preview(Frozen):
    """The subscription as it would be, and the money that would move."""

    subscription: Subscription
    change: SubscriptionChange | None
    written: Written | None
    usage: Written | None
    """Overage that is billed at once, on an invoice of its own."""
    credited_minor: int
    """The sum of credit notes: off what is owed, or to the money balance."""
    refunded_minor: int
    """The part of it that is refunded to its payer."""
    as_of: datetime
    upcoming: Upcoming | None
    digest: bytes
    over_limits: tuple[OverLimit, ...] = ()

    @property
    def due_minor(self) -> int:
        """The amount due at once."""
        parts = (self.written, self.usage)
        return sum(one.invoice.amount_due_minor for one in parts if one is not None)


def preview(work: Work[SubscriptionFacts], as_of: datetime) -> Preview:
    """Return the outcome of a command that was decided and not written, as if it were paid.

    The caller adds the end of the period that is current then, because SQL counts the use.
    """
    added = written_by(work)
    # Before the payment: the card that pays does not change what is charged.
    digest = digest_of(work)
    change = next((one for one in _added(work.effects, SubscriptionChange)), None)
    waits = subscription_of(work).status == "incomplete" or (
        change is not None and change.status == "pending"
    )
    if waits and added is not None:
        settled = work.rows.get(Invoice, added.invoice.id)
        if settled.status == "draft":
            due = settled.amount_due_minor
            payment_effects.on_paid(work, invoices.receive(work, settled, due))
    notes = _added(work.effects, CreditNote)
    return Preview(
        subscription=subscription_of(work),
        change=work.rows.find(SubscriptionChange, change.id) if change else None,
        written=added,
        usage=written_by(work, 1),
        credited_minor=sum(one.amount_minor for one in notes),
        refunded_minor=sum(one.amount_minor for one in _added(work.effects, Refund)),
        as_of=as_of,
        upcoming=None,
        digest=digest,
    )


def written_by(work: Work[SubscriptionFacts], place: int = 0) -> Written | None:
    """Return the invoice that a decision writes first, or at another place from 0."""
    added = _added(work.effects, Invoice)[place : place + 1]
    if not added:
        return None
    (new,) = added
    lines = tuple(invoices.lines_of(work.rows, new.id))
    return Written(invoice=work.rows.get(Invoice, new.id), lines=lines)


def upcoming(rows: Rows, facts: SubscriptionFacts) -> Upcoming | None:
    """Return the end of the current period, as it would be with what is known now."""
    step = _next_of(COMING, rows, facts)
    if step is None:
        return None
    if rows.get(Subscription, facts.subscription_id).cycle_end < step.due:
        facts = _after_cycle(rows, facts)
    work = _played(step, rows, facts)
    return Upcoming(at=step.due, step=step.name, written=written_by(work))


def _after_cycle(rows: Rows, facts: SubscriptionFacts) -> SubscriptionFacts:
    """Return the facts after the cycle: in a longer period its use has an invoice of its own. That
    counts towards the minimum of the period, and takes from the money balance or carries to it.
    """
    after = replace(facts, usage=())
    step = _next_of(("cycle",), rows, facts) if facts.usage else None
    if step is None:
        return after
    known = rows.ids()
    played = _played(step, rows, facts)
    charges = (one for one in true_ups.charged(played) if one.invoice_id not in known)
    moved = sum(one.amount_minor for one in played.rows.of(BalanceEntry) if one.id not in known)
    return replace(after, spent=(*facts.spent, *charges), balance_minor=facts.balance_minor + moved)


def _played(step: Step, rows: Rows, facts: SubscriptionFacts) -> Work[SubscriptionFacts]:
    """Return a step's outcome with what is known now, on a copy of the rows."""
    work = Work(rows.copy(), replace(facts, at=max(step.due, facts.at), answer=None))
    transition(work, step)
    return work


def digest_of(work: Work[SubscriptionFacts]) -> bytes:
    """Return the SHA-256 of what a command would charge and change, without newly made ids."""
    written = written_by(work)
    content: list[Any] = [_shown(one) for one in _added(work.effects, SubscriptionChange)]
    content.append(subscription_of(work).model_dump(mode="json", exclude=_OF_THE_INSTANT))
    content += sorted(
        (_terms(one) for one in work.rows.of(Discount) if one.status in IN_FORCE), key=str
    )
    if written is not None:
        sums = SUMS | {"period_start", "period_end"}
        content.append(written.invoice.model_dump(mode="json", include=sums))
        content += [
            one.model_dump(mode="json", exclude={"id", "invoice_id"}) for one in written.lines
        ]
    return _hash(content + _moved(work))


def sums_of(work: Work[SubscriptionFacts]) -> bytes:
    """Return a digest without instants: of the sums that a command charges and credits whenever it
    takes effect, and of the terms after it.
    """
    written = written_by(work)
    content: list[Any] = [_shown(one) for one in _added(work.effects, SubscriptionChange)]
    content.append(subscription_of(work).model_dump(mode="json", include=_LASTING))
    content += sorted(
        (_terms(one) for one in work.rows.of(Discount) if one.status in IN_FORCE), key=str
    )
    if written is not None:
        content.append(written.invoice.model_dump(mode="json", include=SUMS))
        content += [one.model_dump(mode="json", include=_LINE) for one in written.lines]
    return _hash(content + _moved(work))


def _moved(work: Work[SubscriptionFacts]) -> list[Any]:
    """Return the credited and refunded money, and the credits granted and clawed back."""
    notes, refunds = _added(work.effects, CreditNote), _added(work.effects, Refund)
    return [
        *([str(one.invoice_id), one.amount_minor] for one in notes),
        *([one.key, one.amount_minor] for one in refunds),
        *(
            [one.verb, str(one.arguments.get("amount"))]
            for one in work.effects
            if isinstance(one, Do) and one.verb in (verbs.GRANT, verbs.CLAWBACK)
        ),
    ]


def _hash(content: list[Any]) -> bytes:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _terms(discount: Discount) -> Any:
    names = {"code", "percent", "amount_minor", "kinds", "sold", "periods_left"}
    return discount.model_dump(mode="json", include=names)


def _shown(change: SubscriptionChange) -> Any:
    return change.model_dump(mode="json", include={"kind", "wanted", "terms", "effective_at"})


def _next_of(names: Sequence[str], rows: Rows, facts: SubscriptionFacts) -> Step | None:
    """Return the step of the agenda with one of these names that is due first."""
    return head(one for one in agenda(view(rows, facts)) if one.name in names)


def _added(effects: list[Effect], row_type: type[Any]) -> list[Any]:
    adds = [one.row if isinstance(one, Issue) else one for one in effects]
    return [one.row for one in adds if isinstance(one, Add) and isinstance(one.row, row_type)]

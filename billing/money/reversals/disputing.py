"""Disputes: the payer's bank inquires, takes the money, and returns or keeps it. Pure.

An open dispute claws back the credits; a dispute that is won returns money and credits. One that is
won after it was booked as lost returns only the money, which is then the customer's. So is a part
that comes back of one that stays lost, beyond our loss. Any dispute stops automatic top-ups, again
once the bank takes the money and once it keeps it, and one for fraud bars its card.
"""

from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID

from billing.core import ids, keys
from billing.ledger.credits import verbs
from billing.matters.agenda import Step
from billing.matters.effects import Do, Operation, Work
from billing.money.disputes.rules import state_of
from billing.money.disputes.schemas import FRAUD, Dispute, DisputeState
from billing.money.payments.schemas import Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.remaining import booked_on
from billing.money.refunds.rules import DisputeOutcome
from billing.money.reversals import booking, placing
from billing.money.reversals.booking import subject_of
from billing.money.reversals.facts import ReversalFacts
from billing.money.reversals.rules import REMIND_BEFORE


class StoppedTopUps(TypedDict):
    """An account that buys nothing more by itself."""

    account_id: UUID
    reason: str


class BarredCard(TypedDict):
    """The card of a payment that was disputed at `since`."""

    payment_id: UUID
    since: datetime


class FreedCard(TypedDict):
    """The card of a payment whose dispute its bank has not won."""

    payment_id: UUID


class BoundUse(TypedDict):
    """An account that owes what banks took back."""

    account_id: UUID


STOP: Final = Operation[StoppedTopUps]("stop_top_ups")
"""The verb that stops automatic top-ups until their owner switches them on again."""
BAR: Final = Operation[BarredCard]("bar_card")
"""The verb that bars the card that paid."""
FREE: Final = Operation[FreedCard]("free_card")
"""The verb that frees a card that was barred by disputes alone."""
BOUND: Final = Operation[BoundUse]("bound_use")
"""The verb that has the limits of use follow what banks took back for use."""
WON: Final = "dispute_won"
"""Kind of the balance entry for money that a bank had taken and returned."""
_IN_ANOTHER_CURRENCY: Final[dict[DisputeState, DisputeState]] = {
    "open": "inquiry",
    "won": "closed",
    "lost": "closed",
}
"""The states of a dispute in another currency than its payment's: the amounts are not
comparable, so nothing is booked by guess.
"""


def follow(w: Work[ReversalFacts], outcome: DisputeOutcome) -> None:
    """Follow the provider's status of a dispute. One that has ended changes only if its money moves
    later.
    """
    known = next((one for one in w.rows.of(Dispute) if _is(one, outcome)), None)
    state = _state(w, outcome, outcome.currency if known is None else known.currency)
    told = state_of(outcome.status, is_withdrawn=False)
    if told == state == "closed" and outcome.is_withdrawn:
        # It is in another currency, and its row tells only by the status who has the money.
        outcome = outcome.model_copy(update={"status": "lost"})
    if known is None:
        known = _open(w, outcome, "inquiry" if state in ("inquiry", "closed") else "open")
    if known.closed_at is not None:
        _follow_ended(w, known, outcome.status, state)
    else:
        _follow_open(w, known, outcome, state)
    if state == "lost":
        # During an appeal the bank may return the money, and take it again.
        _take_part(w, w.rows.get(Dispute, known.id), outcome.returned_minor)


def _follow_open(
    w: Work[ReversalFacts], known: Dispute, outcome: DisputeOutcome, state: DisputeState
) -> None:
    """Follow a dispute that has not ended: its deadline, and the money."""
    before = known
    if (known.status, known.evidence_due_at) != (outcome.status, outcome.evidence_due_at):
        known = w.change(known, status=outcome.status, evidence_due_at=outcome.evidence_due_at)
    if state != known.state:
        _move(w, known, state)
    elif _only_asks(before.status) and not _only_asks(outcome.status):
        _escalate(w, known)


def remind(w: Work[ReversalFacts], step: Step) -> None:
    """Remind operators that the evidence is due soon. Of reminders that are due together, one is
    sent; none once the deadline is over.
    """
    found = (one for one in w.rows.of(Dispute) if one.closed_at is None)
    row = next(
        one for one in found if keys.reminder(subject_of(one), one.reminders + 1) == step.key
    )
    due, at = row.evidence_due_at, w.facts.at
    reminders = sum(due is not None and at >= due - ahead for ahead in REMIND_BEFORE)
    reminded = w.change(row, reminders=max(reminders, row.reminders + 1))
    if due is not None and at >= due:
        w.result = "too late"
        return
    _announce(w, reminded, "evidence_due")
    w.result = "reminded"


def _is(row: Dispute, outcome: DisputeOutcome) -> bool:
    return row.stripe_dispute_id == outcome.dispute_id


def _only_asks(status: str) -> bool:
    return state_of(status, is_withdrawn=False) == "inquiry"


def _state(w: Work[ReversalFacts], outcome: DisputeOutcome, currency: str) -> DisputeState:
    state = state_of(outcome.status, is_withdrawn=outcome.is_withdrawn)
    is_bookable = currency == w.rows.get(Payment, w.facts.payment_id).currency
    return state if is_bookable else _IN_ANOTHER_CURRENCY.get(state, state)


def _open(w: Work[ReversalFacts], outcome: DisputeOutcome, state: DisputeState) -> Dispute:
    payment = w.rows.get(Payment, w.facts.payment_id)
    row = w.add(
        Dispute(
            id=w.facts.new_id(),
            account_id=payment.account_id,
            payment_id=payment.id,
            invoice_id=booked_on(w.rows, payment).id,
            stripe_dispute_id=outcome.dispute_id,
            status=outcome.status,
            state=state,
            amount_minor=outcome.amount_minor,
            currency=outcome.currency,
            reason=outcome.reason,
            evidence_due_at=outcome.evidence_due_at,
            created_at=w.facts.at,
        )
    )
    row = _place(w, row)
    _announce(w, row, "opened")
    _protect(w, row)
    return _claw_back(w, row)


def _escalate(w: Work[ReversalFacts], row: Dispute) -> None:
    """Announce that the bank no longer only asks."""
    _announce(w, row, "escalated")
    _protect(w, row)


def _protect(w: Work[ReversalFacts], row: Dispute) -> None:
    """Stop top-ups, and bar the card of a dispute for fraud; free it once the bank has not taken
    the money.
    """
    # One in another currency is closed here, though its bank has the money.
    is_over = row.state in ("won", "closed") and row.status != "lost"
    if not is_over:
        reason = f"disputed: {row.reason}"
        w.do(Do(STOP, StoppedTopUps(account_id=row.account_id, reason=reason)))
    if row.reason == FRAUD and is_over:
        w.do(Do(FREE, FreedCard(payment_id=row.payment_id)))
    elif row.reason == FRAUD:
        w.do(Do(BAR, BarredCard(payment_id=row.payment_id, since=row.created_at)))


def _move(w: Work[ReversalFacts], row: Dispute, state: DisputeState) -> None:
    """Bring a dispute that has not ended to its new state."""
    if state == "inquiry":
        return  # a late answer: the bank has taken the money already
    if state == "open":
        _escalate(w, _withdraw(w, row))
        return
    before = row.state
    if state == "lost" and before == "inquiry":
        row = _withdraw(w, row)
    row = _close(w, row, state)
    if state == "lost":
        if w.rows.get(Payment, row.payment_id).settled_at is not None:
            booking.book(w, row)
        _announce(w, row, state)
    else:
        kept = _return(w, row) if before == "open" else 0
        _announce(w, w.rows.get(Dispute, row.id), state, balance_cents=kept)


def _close(w: Work[ReversalFacts], row: Dispute, state: DisputeState) -> Dispute:
    row = w.change(row, state=state, closed_at=w.facts.at)
    _protect(w, row)
    w.do(Do(BOUND, BoundUse(account_id=row.account_id)))
    return row


def _follow_ended(w: Work[ReversalFacts], row: Dispute, status: str, state: DisputeState) -> None:
    """Follow a dispute that has ended. A lost one may be appealed, which changes nothing, and may
    be won later. For one that was closed without taking money, the provider may take it later. One
    in another currency is always `closed`: only its status tells who has the money.
    """
    if (row.state, state) == ("closed", "lost") and not row.note_minor + row.balance_minor:
        row = _withdraw(w, w.change(row, status=status, closed_at=None))
        _move(w, row, state)
        return
    if row.status == status or row.state not in ("lost", state):
        return
    row = w.change(row, status=status)
    if row.state == "closed":
        _protect(w, row)
    if (row.state, state) != ("lost", "won"):
        return
    row = _close(w, row, state)
    kept = _return(w, row) if row.booked_at is None else _keep(w, row)
    _announce(w, w.rows.get(Dispute, row.id), state, balance_cents=kept)


def _withdraw(w: Work[ReversalFacts], row: Dispute) -> Dispute:
    """Open a dispute: its bank has taken the money."""
    return _claw_back(w, _place(w, w.change(row, state="open")))


def _place(w: Work[ReversalFacts], row: Dispute) -> Dispute:
    """Place an open dispute's money in the books."""
    if row.state == "open":
        placing.place(w, row)
    return w.rows.get(Dispute, row.id)


def _claw_back(w: Work[ReversalFacts], row: Dispute) -> Dispute:
    """Claw back the credits of an open dispute."""
    if row.state == "open":
        booking.take_credits(w, row)
    return w.rows.get(Dispute, row.id)


def _keep(w: Work[ReversalFacts], row: Dispute) -> int:
    """Book a lost dispute that was won later: the credit note and the clawback stay, the money
    returns to the customer's balance, and our loss is reversed. Return what stays there.
    """
    kept = row.balance_minor + row.note_minor
    booking.move_balance(w, row, kept, WON)
    row = w.change(row, loss_minor=0)
    kept -= placing.take_returned(w, row, kept)
    booking.count_refunded(w, w.rows.get(Payment, row.payment_id), row.reason)
    refunds.look_again(w, but=row.payment_id)
    return kept


def _take_part(w: Work[ReversalFacts], row: Dispute, returned_minor: int) -> None:
    """Book the part that a bank returned of a dispute that stays lost, once: a refund had paid it,
    or the verdict is on a part. It covers our loss first; the rest is the customer's.
    """
    is_booked = row.state == "lost" and row.booked_at is not None
    part = min(returned_minor, row.amount_minor)
    if not is_booked or row.returned_at is not None or part <= 0:
        return
    loss = min(part, row.loss_minor)
    balance = min(part - loss, row.balance_minor)
    noted = min(part - loss - balance, row.note_minor)
    note, rest = row.note_minor - noted, row.loss_minor - loss + row.balance_minor - balance
    row = w.change(
        row, amount_minor=row.amount_minor - part, returned_minor=part, returned_at=w.facts.at,
        loss_minor=row.loss_minor - loss, balance_minor=row.balance_minor - balance,
        note_minor=note, noted_back_minor=noted,
        wanted_minor=min(row.wanted_minor, note + rest) if rest else 0,
    )  # fmt: skip
    booking.move_balance(w, row, balance + noted, WON, "-part")
    kept = balance + noted - placing.take_returned(w, row, balance + noted, "-part")
    booking.count_refunded(w, w.rows.get(Payment, row.payment_id), row.reason)
    w.do(Do(BOUND, {"account_id": row.account_id}))
    refunds.look_again(w, but=row.payment_id)
    _announce(w, w.rows.get(Dispute, row.id), "returned", returned_cents=part, balance_cents=kept)


def _return(w: Work[ReversalFacts], row: Dispute) -> int:
    """Return the credits, and to the money balance its part; the answer is what stays there."""
    kept = row.balance_minor
    booking.move_balance(w, row, kept, WON)
    row = w.change(row, loss_minor=0)
    kept -= placing.take_returned(w, row, kept)
    for number, taken in enumerate(row.credits, start=1):
        returned: verbs.ReturnedClawback = {
            "account_id": row.account_id,
            "grant_key": taken["grant_key"],
            "clawback_key": keys.clawback(subject_of(row), number),
            "key": keys.returned_clawback(subject_of(row), number),
            "subject": subject_of(row),
        }
        w.do(Do(verbs.RETURN_CLAWBACK, returned))
    refunds.look_again(w, but=row.payment_id)
    return kept


def _announce(w: Work[ReversalFacts], row: Dispute, what: str, **more: int) -> None:
    """Write one audit row and one `evt.billing.dispute.*`."""
    due = row.evidence_due_at
    facts: dict[str, Any] = {
        "dispute_id": subject_of(row),
        "payment_id": ids.encode(ids.PAYMENT, row.payment_id),
        "invoice_id": ids.encode(ids.INVOICE, row.invoice_id),
        "amount_cents": row.asked_minor,
        "loss_cents": row.loss_minor,
        "currency": row.currency,
        "reason": row.reason,
        "stripe_status": row.status,
        "evidence_due_at": due.isoformat() if due is not None else None,
        **more,
    }
    w.announce(row.account_id, f"dispute.{what}", subject_of(row), facts)

"""The agenda of collecting one invoice: its first charge, the slots after a failure, and the end.

Pure: the agenda is computed from the attempts in the rows.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime

from billing.core import keys
from billing.matters.agenda import Lean, State, Step
from billing.money.dunning.rules import (
    UNDECIDED_IS_OVERDUE,
    Case,
    final_action_due,
    final_due,
    not_before,
    planned_at,
    slot_due,
)
from billing.money.payments.rules import PAYERS_OWN, next_check
from billing.platform.provider_inbox.rules import WaitingEvent, event_step

APPROVAL_SUSPENDS: Final = timedelta(days=5)
FIRST_APPROVAL_WITHIN: Final = timedelta(days=14)
"""A first payment of a subscription by hand waits so long for its approval."""
PROVIDER_DOWN_EVERY: Final = timedelta(hours=1)
PROVIDER_DOWN_TRIES: Final = 24
AGAIN: Final = "/again-"
"""In the key of a try that is made again because the one before it never reached the card."""
CHOSEN: Final = "/chosen-"
"""In the key of a new card's first try, if the card was new before: chosen or saved again since."""


class Undecided(Lean):
    """A try of a card whose result is not known."""

    key: str
    slot: int | None = None
    method: str | None = None
    began_at: AwareDatetime | None = None
    """Not set in states of 0.1.0."""


class Collecting(Lean):
    """The state of one invoice that is being collected, read from its rows."""

    invoice: str
    """External id, the stem of its keys."""
    day_zero_at: AwareDatetime
    first_slot_at: AwareDatetime | None = None
    """The customer pays by transfer until then; None: the first slot is at day zero."""
    held: bool = False
    """True if its first charge waits for a request of an operator or the payer."""
    pay_first: bool = False
    """A draft that waits for its payment: no slots, no case."""
    approval_within: timedelta = APPROVAL_SUSPENDS
    """The wait for the approval of a payment by hand; set while one waits, not in 0.1.0."""
    closed: bool = False
    """True if nothing is owed any more: a payment that could still succeed is canceled, and a
    reported transfer waits no longer than its days.
    """
    case: Case | None = None
    given_up: bool = False
    """True if its case is over and it is still owed: only a request or a new card retries it."""
    last_tried_at: AwareDatetime | None = None
    """Instant of the last try in the case that is over."""
    last_began_at: AwareDatetime | None = None
    """Instant at which the last try that reached a card began; not set in states of 0.1.0."""
    unsettled: str | None = None
    """A payment whose money arrived and is not booked yet."""
    payment: str | None = None
    """The one live payment, which the fields down to `awaits_payer` describe."""
    flow: str | None = None
    payment_status: str | None = None
    opened: bool = False
    payment_at: AwareDatetime | None = None
    offered_until: AwareDatetime | None = None
    """Instant at which its payer's link is over; set once it is given up, not in 0.1.0."""
    checks: int = 0
    last_check_at: AwareDatetime | None = None
    stale: bool = False
    """True if the live payment has another amount than is owed, or its payer chose another flow."""
    tried_at: AwareDatetime | None = None
    """Instant of its last try."""
    awaits_payer: bool = False
    """True if the last try asked the payer for 3-D Secure."""
    submission: str | None = None
    """A manual payment that takes over once the live one is canceled."""
    undecided: Undecided | None = None
    """Nothing else is tried before its result is known."""
    tried: tuple[str, ...] = ()
    """Keys of the attempts that have a result."""
    unreached_slots: tuple[int, ...] = ()
    """The slot of each attempt that is proven to have never reached the card."""
    unreached_extras: tuple[str, ...] = ()
    """Keys of such attempts that used up no slot; not set in states of 0.1.0."""
    last_unreached_at: AwareDatetime | None = None
    again_at: AwareDatetime | None = None
    """Instant at which an operator has ordered the try after it; not set in states of 0.1.0."""
    pay_requests: int = 0
    pay_requested_at: AwareDatetime | None = None
    method: str | None = None
    """The card to charge, if there is a usable one."""
    method_chosen_at: AwareDatetime | None = None
    method_tried: bool = False
    """True if this invoice was tried with it since then."""
    earlier_choices: int = 0
    """Number of its earlier choices that were tried; not set in states of 0.1.0."""
    backup_since: AwareDatetime | None = None
    """Set if that card replaces another, as a backup does: instant of the other's hard decline."""


class CollectionState(State):
    """The state of an invoice that its own matter pursues, read from its rows."""

    invoice: Collecting | None
    """None once it is paid, forgiven or given up, and no payment of it may bring money."""
    events: tuple[WaitingEvent, ...] = ()
    subject: str


_BEGINNINGS: Final = ("open", "charge")


def agenda(
    c: Collecting,
    *,
    by_slots: bool = True,
    until: datetime | None = None,
    is_served: bool = False,
) -> list[Step]:
    """Return the steps for this invoice, unordered; without slots only requested ones.

    No payment begins at `until` or later; one that began is completed. `is_served`: the customer
    has the plan meanwhile.
    """
    if c.unsettled:
        key = f"{c.unsettled}/settled"
        return [_since_day_zero(c, "settle", key, "book the money", payment=c.unsettled)]
    if c.payment_status == "processing":
        return [_check(c), *(_lock_out(c) if is_served else [])]
    if _must_retire(c):
        return [_retire(c, c.day_zero_at)]
    if c.undecided is not None:
        return [_see_through(c, c.undecided)]
    if c.payment_status == "pending_approval" and c.payment_at is not None:
        # Also of an invoice that something else has settled: its payer is told in time.
        due = c.payment_at + c.approval_within
        key = f"{c.invoice}/approval-{c.payment}"
        words = "stop waiting for approval"
        return [Step(name="end_approval", due=due, key=key, words=words, invoice=c.invoice)]
    if c.closed:
        return []
    steps = _payers_own(c) + _asked_for(c) + (_slots(c) if by_slots else [])
    if until is None:
        return steps
    return [
        one.model_copy(update={"until": until}) if one.name in _BEGINNINGS else one for one in steps
    ]


def collection_agenda(state: CollectionState) -> list[Step]:
    """Return the agenda of an invoice without an open subscription."""
    steps = agenda(state.invoice) if state.invoice is not None else []
    if state.events:
        steps.insert(0, event_step(state.subject, state.events[0]))
    return steps


def _must_retire(c: Collecting) -> bool:
    """True if another flow takes over, nothing is owed any more, or the amount has changed."""
    by_card = c.payment is not None and c.flow != "manual"
    return c.submission is not None or (by_card and (c.closed or c.stale))


def _payers_own(c: Collecting) -> list[Step]:
    """Return the steps for a payer who confirms in the browser."""
    if c.flow in PAYERS_OWN and not c.opened:
        return [_since_day_zero(c, "open", f"{c.invoice}/open-{c.payment}", "open the payment")]
    if c.opened and (c.flow in PAYERS_OWN or c.pay_first or c.awaits_payer):
        # The payer may complete it, and we may not be notified.
        steps = [_check(c)]
        if c.given_up and c.offered_until is not None:
            # Nothing else ends the payer's own payment of a debt that was given up.
            steps.append(_retire(c, c.offered_until))
        return steps
    return []


def _retire(c: Collecting, due: datetime) -> Step:
    key = f"{c.invoice}/retire-{c.payment or c.submission}"
    words = "call the open payment back"
    return Step(name="retire", due=due, key=key, words=words, invoice=c.invoice)


def _asked_for(c: Collecting) -> list[Step]:
    """Return tries that use up no slot and move none: a requested retry, and one per new card."""
    steps = []
    key = keys.manual_retry(c.invoice, c.pay_requests)
    if c.pay_requested_at is not None and key not in c.tried:
        steps.append(_charge(c, key, c.pay_requested_at, "try the card now, as asked", asked=True))
    if c.method_chosen_at is not None and _is_new_card(c):
        steps += _extra(c, _new_card_key(c), c.method_chosen_at, "try the new card")
    if c.backup_since is not None and c.case is not None and _takes_backup(c.case):
        steps += _extra(c, f"{c.invoice}/backup-{c.method}", c.backup_since, "try the backup card")
    return steps


def _extra(c: Collecting, first: str, due: datetime, words: str) -> list[Step]:
    """Return the one try of this card that reaches it."""
    down = sum(first_key(one) == first for one in c.unreached_extras)
    if _again_key(first, down) in c.tried:
        return []
    return [_charge_again(c, first, down, due, words, method=c.method)]


def _new_card_key(c: Collecting) -> str:
    """Return the key of the first try since the card was chosen; each choice has its own."""
    first = card_key(c.invoice, c.method)
    return f"{first}{CHOSEN}{c.earlier_choices}" if c.earlier_choices else first


def card_key(invoice: str, method: str | None) -> str:
    """Return the key of the first try of a card as a new one."""
    return f"{invoice}/card-{method}"


def _takes_backup(case: Case) -> bool:
    """True unless paused or in the last term, which tries only what the payer asks for."""
    return case.status == "open" and not case.pursued


def _see_through(c: Collecting, attempt: Undecided) -> Step:
    """Return a charge with the same key and card, to learn the result of an undecided one."""
    return _charge(
        c,
        attempt.key,
        _due_since(c, attempt),
        "find out what became of the charge",
        slot=attempt.slot,
        method=attempt.method,
        asked=attempt.key == keys.manual_retry(c.invoice, c.pay_requests),
    )


def _due_since(c: Collecting, attempt: Undecided) -> datetime:
    """Return when an undecided try became due: as it was planned, or when it began, if earlier."""
    if attempt.began_at is None:
        return c.day_zero_at
    before = c.model_copy(update={"last_began_at": None})
    planned = [one.due for one in _asked_for(before) + _slots(before) if one.key == attempt.key]
    return min([*planned, attempt.began_at])


def _is_new_card(c: Collecting) -> bool:
    """True if the card was chosen after the last try began, however late that was decided, or at
    its instant (frozen clock) and is untried.
    """
    last = c.case.last_true_attempt_at if c.case is not None else c.last_tried_at
    if last is None or c.method is None or c.method_chosen_at is None:
        return False
    last = c.last_began_at or last
    return c.method_chosen_at > last or (c.method_chosen_at == last and not c.method_tried)


def _slots(c: Collecting) -> list[Step]:
    if c.given_up:
        return []
    if c.case is None:
        # A pay-first draft is charged with its payment's card, or by the payer.
        first = not c.held and (not c.pay_first or c.flow == "saved_card")
        if not first or _slot_key(c, 0) in c.tried:
            return []
        if c.first_slot_at is not None:
            return [_slot(c, 0, c.first_slot_at, "the invoice is due")]
        return [_slot(c, 0, c.day_zero_at, "charge the invoice")]
    if c.case.status == "paused":
        return []
    slot = c.case.last_slot + 1
    while _slot_key(c, slot) in c.tried:  # used up, though no failure was noted for it
        slot += 1
    if slot >= len(c.case.policy.days):
        return [_give_up(c, c.case, final_due(c.case))]
    words = f"attempt {slot + 1} of {len(c.case.policy.days)}"
    step = _slot(c, slot, slot_due(c.case, slot), words)
    # Also what is tried hourly, because the provider is down, was postponed.
    return [step.model_copy(update={"due": not_before(c.case, step.due)})]


def _lock_out(c: Collecting) -> list[Step]:
    """Return the final action `unpaid`, which a deciding bank delays only for a limited time: one
    debit after the other may fail. Its money is booked all the same.
    """
    case = c.case
    if case is None or case.status == "paused" or case.policy.final_action != "unpaid":
        return []
    if c.tried_at is None:
        return []  # its payer chose the bank account, or an earlier release wrote the state
    waited = planned_at(case, len(case.policy.days) - 1) + UNDECIDED_IS_OVERDUE
    return [_give_up(c, case, not_before(case, final_action_due(waited, c.tried_at)))]


def _give_up(c: Collecting, case: Case, due: datetime) -> Step:
    key, words = f"{c.invoice}/give-up", f"final action: {case.policy.final_action}"
    if case.pursued:
        # Once per term: an earlier release took a sent invoice's first term for its last.
        key = f"{key}-pursued-{keys.stamp(case.day_zero_at)}"
    return Step(name="give_up", due=due, key=key, words=words, invoice=c.invoice)


def _slot(c: Collecting, slot: int, due: datetime, words: str) -> Step:
    down = c.unreached_slots.count(slot)
    return _charge_again(c, keys.slot_attempt(c.invoice, slot), down, due, words, slot=slot)


def _slot_key(c: Collecting, slot: int) -> str:
    """Return the key of the slot's next try."""
    return _again_key(keys.slot_attempt(c.invoice, slot), c.unreached_slots.count(slot))


def first_key(key: str) -> str:
    """Return the key of the first of the tries that are made until one reaches the card."""
    return key.partition(AGAIN)[0]


def is_again(step: Step) -> bool:
    """True if the step makes a try again that reached no card."""
    return step.name == "charge" and step.key != first_key(step.key)


def _again_key(first: str, down: int) -> str:
    """Return the key of the next try; each try that never reached the card had its own."""
    return f"{first}{AGAIN}{down}" if down else first


def _charge_again(
    c: Collecting, first: str, down: int, due: datetime, words: str, **facts: Any
) -> Step:
    """Return the charge; while the provider is down the same one again, hourly or when ordered."""
    if down and c.last_unreached_at is not None:
        due = c.again_at or c.last_unreached_at + PROVIDER_DOWN_EVERY
        words = f"{words}, once more"
    return _charge(c, _again_key(first, down), due, words, **facts)


def _charge(c: Collecting, key: str, due: datetime, words: str, **facts: Any) -> Step:
    return Step(name="charge", due=due, key=key, words=words, invoice=c.invoice, **facts)


def _check(c: Collecting) -> Step:
    opened_at = c.payment_at or c.day_zero_at
    return Step(
        name="check",
        due=next_check(opened_at, c.checks, c.last_check_at),
        key=f"{c.invoice}/check-{c.payment}-{c.checks + 1}",
        words="ask PayPal" if c.flow == "paypal" else "ask Stripe",
        invoice=c.invoice,
        payment=c.payment,
    )


def _since_day_zero(c: Collecting, name: str, key: str, words: str, **facts: Any) -> Step:
    return Step(name=name, due=c.day_zero_at, key=key, words=words, invoice=c.invoice, **facts)

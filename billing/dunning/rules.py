"""How one invoice is collected: its first charge, the slots after a failure, and the end of trying.

Pure: the agenda of collecting is computed from what the rows say was tried. Slots are at day 0
(the renewal itself), 3 and 7 by default (product.md section 11).
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billing.core import periods
from billing.core.agenda import Late, State, Step, final_action_due
from billing.events.rules import event_step
from billing.payments.rules import next_check

FinalAction = Literal["unpaid", "cancel", "uncollectible"]
APPROVAL_SUSPENDS: Final = timedelta(days=5)
PROVIDER_DOWN_EVERY: Final = timedelta(hours=1)
PROVIDER_DOWN_TRIES: Final = 24
# Card rules: at most 15 attempts per card in 30 days, over all roads.
MAX_ATTEMPTS_PER_CARD: Final = 15
ATTEMPT_WINDOW: Final = timedelta(days=30)


class Policy(BaseModel):
    """A plan's dunning: slot days from day 0, hour of day in the customer's zone, and the end."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    days: tuple[int, ...] = (0, 3, 7)
    hour: int | None = None
    """None: the renewal's own time of day."""
    final_action: FinalAction = "unpaid"
    grace_days: int = 1
    """From the last slot to the final action."""


class Case(BaseModel):
    """An open dunning case: how far the slots are."""

    model_config = ConfigDict(frozen=True)

    status: Literal["open", "paused"]
    policy: Policy
    zone: str
    day_zero_at: AwareDatetime
    last_slot: int
    last_slot_ran_at: AwareDatetime
    last_true_attempt_at: AwareDatetime
    extended_days: int = 0


class Collecting(BaseModel):
    """The rows' word about one invoice that is being collected."""

    model_config = ConfigDict(frozen=True)

    invoice: str
    """External id, the stem of its keys."""
    day_zero_at: AwareDatetime
    held: bool = False
    """Only an operator's or payer's request charges it."""
    pay_first: bool = False
    """A draft that waits for its payment: no slots, no case."""
    case: Case | None = None
    unsettled: str | None = None
    """A payment whose money is in and not booked yet."""
    road: str | None = None
    payment_status: str | None = None
    """Of the one live payment."""
    opened: bool = False
    payment_at: AwareDatetime | None = None
    checks: int = 0
    last_check_at: AwareDatetime | None = None
    undecided: str | None = None
    """Key of an attempt whose result is not known: nothing else is tried before it is."""
    tried: tuple[str, ...] = ()
    """Keys of the attempts that have a result."""
    unreached: tuple[str, ...] = ()
    """Those of them that are proven to have never reached the card."""
    last_unreached_at: AwareDatetime | None = None
    pay_requests: int = 0
    pay_requested_at: AwareDatetime | None = None
    method: str | None = None
    """The account's default card, when it has a usable one."""
    method_chosen_at: AwareDatetime | None = None


def agenda(c: Collecting) -> list[Step]:
    """Everything still to do for this invoice, unordered."""
    if c.unsettled:
        key = f"{c.unsettled}/settled"
        return [Step(name="settle", due=c.day_zero_at, key=key, words="book the money")]
    if c.undecided:
        return [_charge(c.undecided, c.day_zero_at, "find out what became of the charge")]
    if c.payment_status == "processing":
        return [_check(c)]
    if c.payment_status == "pending_approval" and c.payment_at is not None:
        due = c.payment_at + APPROVAL_SUSPENDS
        key = f"{c.invoice}/approval-{c.payment_at:%Y%m%d%H%M%S}"
        return [Step(name="end_approval", due=due, key=key, words="stop waiting for approval")]
    steps = []
    if c.road == "card" and not c.opened:
        key = f"{c.invoice}/open-{c.payment_at:%Y%m%d%H%M%S}" if c.payment_at else c.invoice
        steps.append(Step(name="open", due=c.day_zero_at, key=key, words="open the payment"))
    elif c.opened and (c.road == "card" or c.pay_first):
        # The payer may finish it without anybody telling us.
        steps.append(_check(c))
    return steps + _asked_for(c) + _slots(c)


def slot_due(case: Case, slot: int) -> datetime:
    """Its own date, and its gap after the last slot that ran: a missed slot never bunches up."""
    planned = _planned(case, slot)
    gap = timedelta(days=case.policy.days[slot] - case.policy.days[case.last_slot])
    return max(planned, case.last_slot_ran_at + gap)


def final_due(case: Case) -> datetime:
    """After the last slot and the grace days, never within 24 h of the last true attempt."""
    last = len(case.policy.days) - 1
    planned = _planned(case, last) + timedelta(days=case.policy.grace_days)
    return final_action_due(planned, case.last_true_attempt_at)


def _planned(case: Case, slot: int) -> datetime:
    wall = periods.to_wall(case.day_zero_at, case.zone)
    wall += timedelta(days=case.policy.days[slot] + case.extended_days)
    if case.policy.hour is not None and slot > 0:
        wall = wall.replace(hour=case.policy.hour, minute=0, second=0, microsecond=0)
    return periods.from_wall(wall, case.zone)


def _asked_for(c: Collecting) -> list[Step]:
    """Tries that use up no slot and move none: a retry-now, and one for each new card."""
    steps = []
    now_key = f"{c.invoice}/now-{c.pay_requests}"
    if c.pay_requested_at is not None and now_key not in c.tried:
        steps.append(_charge(now_key, c.pay_requested_at, "try the card now, as asked"))
    if c.case is None or c.method is None or c.method_chosen_at is None:
        return steps
    card_key = f"{c.invoice}/card-{c.method}"
    if c.method_chosen_at > c.case.last_true_attempt_at and card_key not in c.tried:
        steps.append(_charge(card_key, c.method_chosen_at, "try the new card"))
    return steps


def _slots(c: Collecting) -> list[Step]:
    if c.held or (c.case is not None and c.case.status == "paused"):
        return []
    if c.case is None:
        key = f"{c.invoice}/attempt-0"
        # A pay-first draft is charged by the card its payment names, or by the payer.
        first = not c.pay_first or c.road == "saved_card"
        if not first or (key in c.tried and key not in c.unreached):
            return []
        return [_slot(c, 0, c.day_zero_at, "charge the invoice")]
    slot = c.case.last_slot + 1
    if slot >= len(c.case.policy.days):
        key, words = f"{c.invoice}/give-up", f"final action: {c.case.policy.final_action}"
        return [Step(name="give_up", due=final_due(c.case), key=key, words=words)]
    words = f"attempt {slot + 1} of {len(c.case.policy.days)}"
    return [_slot(c, slot, slot_due(c.case, slot), words)]


def _slot(c: Collecting, slot: int, due: datetime, words: str) -> Step:
    """The slot's charge; while the provider is down the same slot again, hourly."""
    stem = f"{c.invoice}/attempt-{slot}"
    down = [key for key in c.unreached if key == stem or key.startswith(f"{stem}/")]
    if down and c.last_unreached_at is not None:
        again = f"{stem}/again-{len(down)}"
        return _charge(again, c.last_unreached_at + PROVIDER_DOWN_EVERY, f"{words}, once more")
    return _charge(stem, due, words)


def _charge(key: str, due: datetime, words: str) -> Step:
    return Step(name="charge", due=due, key=key, late=Late.SPACE, words=words)


def _check(c: Collecting) -> Step:
    opened_at = c.payment_at or c.day_zero_at
    return Step(
        name="check",
        due=next_check(opened_at, c.checks, c.last_check_at),
        key=f"{c.invoice}/check-{opened_at:%Y%m%d%H%M%S}-{c.checks + 1}",
        words="ask Stripe",
    )


class CollectionState(State):
    """The rows' word about an invoice that is pursued by a matter of its own."""

    invoice: Collecting | None
    """None once it is paid, forgiven or given up."""
    events: tuple[str, ...] = ()
    subject: str


def collection_agenda(state: CollectionState) -> list[Step]:
    """The same rule, for an invoice without an open subscription."""
    steps = agenda(state.invoice) if state.invoice is not None else []
    if state.events:
        steps.insert(0, event_step(f"collection/{state.subject}", state.events[0]))
    return steps

"""How one invoice is collected: its first charge, the slots after a failure, and the end of trying.

Pure: the agenda of collecting is computed from what the rows say was tried. Slots are at day 0
(the renewal itself), 3 and 7 by default (product.md section 11).
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billing.core import periods
from billing.core.agenda import Lean, State, Step, final_action_due, spaced_due
from billing.events.rules import event_step
from billing.payments.rules import next_check

FinalAction = Literal["unpaid", "cancel", "uncollectible"]
APPROVAL_SUSPENDS: Final = timedelta(days=5)
PROVIDER_DOWN_EVERY: Final = timedelta(hours=1)
PROVIDER_DOWN_TRIES: Final = 24
# Card rules: at most 15 attempts per card in 30 days, over all roads.
MAX_ATTEMPTS_PER_CARD: Final = 15
ATTEMPT_WINDOW: Final = timedelta(days=30)
MAX_EXTENSION_DAYS: Final = 90


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


class Collecting(Lean):
    """The rows' word about one invoice that is being collected."""

    invoice: str
    """External id, the stem of its keys."""
    day_zero_at: AwareDatetime
    held: bool = False
    """Its first charge waits for an operator's or the payer's request."""
    pay_first: bool = False
    """A draft that waits for its payment: no slots, no case."""
    closed: bool = False
    """Nothing is owed any more: what might still bring money is called back."""
    case: Case | None = None
    given_up: bool = False
    """Its case is over and it is still owed: only a request tries it again."""
    unsettled: str | None = None
    """A payment whose money is in and not booked yet."""
    payment: str | None = None
    """The one live payment; the next six fields are of it."""
    road: str | None = None
    payment_status: str | None = None
    opened: bool = False
    payment_at: AwareDatetime | None = None
    checks: int = 0
    last_check_at: AwareDatetime | None = None
    stale: bool = False
    """The live payment asks for another amount than is owed now."""
    awaits_payer: bool = False
    """The last try asked the payer for 3-D Secure."""
    submission: str | None = None
    """A manual payment that takes over when the live one has been called back."""
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
    method_tried: bool = False
    """Whether this invoice was tried with it before."""


_BEGINNINGS: Final = ("open", "charge")


def agenda(c: Collecting, *, by_slots: bool = True, until: datetime | None = None) -> list[Step]:
    """Everything still to do for this invoice, unordered; without slots only what was asked for.

    No payment is begun `until` or later; one that was begun is seen through.
    """
    if c.unsettled:
        return [_now(c, "settle", f"{c.unsettled}/settled", "book the money")]
    if c.payment_status == "processing":
        return [_check(c)]
    if _must_retire(c):
        key = f"{c.invoice}/retire-{c.payment or c.submission}"
        return [_now(c, "retire", key, "call the open payment back")]
    if c.undecided:
        return [_charge(c.undecided, c.day_zero_at, "find out what became of the charge")]
    if c.closed:
        return []
    if c.payment_status == "pending_approval" and c.payment_at is not None:
        due = c.payment_at + APPROVAL_SUSPENDS
        key = f"{c.invoice}/approval-{c.payment}"
        return [Step(name="end_approval", due=due, key=key, words="stop waiting for approval")]
    steps = _payers_own(c) + _asked_for(c) + (_slots(c) if by_slots else [])
    if until is None:
        return steps
    return [
        one.model_copy(update={"until": until}) if one.name in _BEGINNINGS else one for one in steps
    ]


def slot_due(case: Case, slot: int) -> datetime:
    """Its own date, and its planned gap after the last slot that ran: missed ones never bunch."""
    planned = _planned(case, slot)
    gap = planned - _planned(case, case.last_slot)
    return spaced_due(planned, gap, case.last_slot_ran_at)


def final_due(case: Case) -> datetime:
    """After the last slot and the grace days, never within 24 h of the last true attempt."""
    last = len(case.policy.days) - 1
    planned = _planned(case, last) + timedelta(days=case.policy.grace_days)
    return final_action_due(planned, case.last_true_attempt_at)


def _planned(case: Case, slot: int) -> datetime:
    if slot == 0 and not case.extended_days:
        return case.day_zero_at
    wall = periods.to_wall(case.day_zero_at, case.zone)
    wall += timedelta(days=case.policy.days[slot] + case.extended_days)
    if case.policy.hour is not None and slot > 0:
        wall = wall.replace(hour=case.policy.hour, minute=0, second=0, microsecond=0)
    return periods.from_wall(wall, case.zone)


def _must_retire(c: Collecting) -> bool:
    """Another road takes over, nothing is owed any more, or the amount has changed."""
    by_card = c.payment is not None and c.road != "manual"
    return c.submission is not None or (by_card and (c.closed or c.stale))


def _payers_own(c: Collecting) -> list[Step]:
    """What a payer who confirms in the browser needs from us."""
    if c.road == "card" and not c.opened:
        return [_now(c, "open", f"{c.invoice}/open-{c.payment}", "open the payment")]
    if c.opened and (c.road == "card" or c.pay_first or c.awaits_payer):
        # The payer may finish it without anybody telling us.
        return [_check(c)]
    return []


def _asked_for(c: Collecting) -> list[Step]:
    """Tries that use up no slot and move none: a retry-now, and one for each new card."""
    steps = []
    now_key = f"{c.invoice}/now-{c.pay_requests}"
    if c.pay_requested_at is not None and now_key not in c.tried:
        steps.append(_charge(now_key, c.pay_requested_at, "try the card now, as asked"))
    card_key = f"{c.invoice}/card-{c.method}"
    if c.method_chosen_at is not None and card_key not in c.tried and _is_new_card(c):
        steps.append(_charge(card_key, c.method_chosen_at, "try the new card"))
    return steps


def _is_new_card(c: Collecting) -> bool:
    """Chosen after the last try; at the same instant of a frozen clock, and not tried yet."""
    if c.case is None or c.method is None or c.method_chosen_at is None:
        return False
    last = c.case.last_true_attempt_at
    return c.method_chosen_at > last or (c.method_chosen_at == last and not c.method_tried)


def _slots(c: Collecting) -> list[Step]:
    if c.given_up:
        return []
    if c.case is None:
        key = f"{c.invoice}/attempt-0"
        # A pay-first draft is charged by the card its payment names, or by the payer.
        first = not c.held and (not c.pay_first or c.road == "saved_card")
        if not first or (key in c.tried and key not in c.unreached):
            return []
        return [_slot(c, 0, c.day_zero_at, "charge the invoice")]
    if c.case.status == "paused":
        return []
    slot = c.case.last_slot + 1
    if slot >= len(c.case.policy.days):
        key, words = f"{c.invoice}/give-up", f"final action: {c.case.policy.final_action}"
        return [Step(name="give_up", due=final_due(c.case), key=key, words=words)]
    words = f"attempt {slot + 1} of {len(c.case.policy.days)}"
    return [_slot(c, slot, slot_due(c.case, slot), words)]


def _slot(c: Collecting, slot: int, due: datetime, words: str) -> Step:
    """The slot's charge; while the provider is down the same slot again, hourly."""
    down = unreached_of_slot(c.invoice, slot, c.unreached)
    if down and c.last_unreached_at is not None:
        again = f"{c.invoice}/attempt-{slot}/again-{down}"
        return _charge(again, c.last_unreached_at + PROVIDER_DOWN_EVERY, f"{words}, once more")
    return _charge(f"{c.invoice}/attempt-{slot}", due, words)


def unreached_of_slot(invoice: str, slot: int, unreached: tuple[str, ...]) -> int:
    """How often this slot's try is proven to have never reached the card."""
    stem = f"{invoice}/attempt-{slot}"
    return sum(key == stem or key.startswith(f"{stem}/") for key in unreached)


def _charge(key: str, due: datetime, words: str) -> Step:
    return Step(name="charge", due=due, key=key, words=words)


def _check(c: Collecting) -> Step:
    opened_at = c.payment_at or c.day_zero_at
    return Step(
        name="check",
        due=next_check(opened_at, c.checks, c.last_check_at),
        key=f"{c.invoice}/check-{c.payment}-{c.checks + 1}",
        words="ask Stripe",
    )


def _now(c: Collecting, name: str, key: str, words: str) -> Step:
    return Step(name=name, due=c.day_zero_at, key=key, words=words)


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

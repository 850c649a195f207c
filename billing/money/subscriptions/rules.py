"""The agenda of a subscription: a pure function of its rows, with words for operators."""

from datetime import datetime, timedelta
from typing import Final

from pydantic import AwareDatetime

from billing.catalog.plans.rules import RUNNING, SERVED_AND_BILLED
from billing.core import keys, periods
from billing.matters.agenda import Lean, State, Step, head
from billing.money.collecting import rules as collecting_rules
from billing.money.collecting.rules import Collecting
from billing.money.subscriptions.states import State as Status
from billing.platform.provider_inbox.rules import AT_ONCE, WaitingEvent, event_step

AWAITS_PAYER: Final = timedelta(hours=23)
"""A first payment, or a change, waits so long for its payer; Stripe Billing waits as long."""
ENDED: Final = frozenset({"incomplete_expired", "canceled"})

BILLING_STEPS: Final = frozenset(
    {
        "renew", "end_trial", "cycle", "bill_early", "pause", "end", "end_unpaid", "give_up",
        "close_commitment",
    }
)  # fmt: skip
"""Steps that may put usage onto an invoice, whatever the rows are."""
ENDING_STEPS: Final = frozenset({"give_up", "end", "end_unpaid"})
"""Steps that may credit time which was not served."""
NOTICES: Final = {
    "end_trial": ("tell_trial_ending", "tell that the trial ends"),
    "renew": ("tell_renewal", "tell that it renews"),
}
"""The end of a period, and the notices before it."""
CHARGED_AT_ONCE: Final = {"renew": "charge", "end_trial": "charge"}
"""Steps that begin a period, and the charge for it."""


class PendingChange(Lean):
    """A change that waits for its payment."""

    change: str
    """External id, the stem of its key."""
    invoice: str
    expires_at: AwareDatetime
    ends_at: AwareDatetime | None = None
    """The end of the new period, if the change begins one."""


class ExpiringCard(Lean):
    """A card that expires before the renewal it should pay."""

    expiry: str
    """The card with its expiry: the key of the step."""
    due: AwareDatetime


class Notice(Lean):
    """A notice of the end of the trial or period, so many days ahead."""

    days: int
    due: AwareDatetime


class SubscriptionState(State):
    """The state of one subscription and the invoices it collects, read from their rows."""

    status: Status
    subscription: str
    """External id, the stem of its keys."""
    current_period_end: AwareDatetime
    cycle_end: AwareDatetime
    incomplete_expires_at: AwareDatetime | None = None
    first_period_end: AwareDatetime | None = None
    """While incomplete, the end of the period to be paid, or of the days of a transfer if they are
    over later; not set in states of 0.1.0.
    """
    superseded: bool = False
    cancel_at_period_end: bool = False
    cancel_at: AwareDatetime | None = None
    went_back: bool = False
    """True if the money paid for the period went back and no operator keeps it running."""
    pauses: bool = False
    """True if a pause is scheduled for the end of the period."""
    commitment_ends_at: AwareDatetime | None = None
    threshold_at: AwareDatetime | None = None
    """Instant at which unbilled use reached the billing threshold."""
    threshold: str | None = None
    """The crossing of the threshold: its cycle, and its number in the cycle."""
    unpaid_until: AwareDatetime | None = None
    """Instant at which it ends by itself, because the overdue amount was not paid."""
    change: PendingChange | None = None
    expiring: ExpiringCard | None = None
    notices: tuple[Notice, ...] = ()
    """The notices of the trial's end or the renewal that its customer has not had, in order."""
    invoices: tuple[Collecting, ...] = ()
    events: tuple[WaitingEvent, ...] = ()


def agenda(state: SubscriptionState) -> list[Step]:
    """Return all steps still to do; steps due at one instant are in their order."""
    steps = []
    if state.events:
        steps.append(event_step(state.subscription, state.events[0]))
    for invoice in state.invoices:
        # Unpaid: no charge unless somebody asks for it (docs/rules/subscriptions.md).
        by_slots = state.status != "unpaid" or _is_of_change(state, invoice)
        steps += collecting_rules.agenda(
            invoice,
            by_slots=by_slots,
            until=_until(state, invoice),
            is_served=state.status == "past_due",
        )
    if state.status == "incomplete":
        steps += _abandon(state)
    elif state.status == "trialing" or state.status in RUNNING:
        steps += _lifecycle(state)
    elif state.status == "paused":
        steps += _while_paused(state)
    return steps + _end_change(state)


def _is_of_change(s: SubscriptionState, invoice: Collecting) -> bool:
    return s.change is not None and invoice.invoice == s.change.invoice


def _until(s: SubscriptionState, invoice: Collecting) -> datetime | None:
    """Return the instant from which no first payment of this invoice may begin; None: no limit."""
    if s.change is not None and invoice.invoice == s.change.invoice:
        return s.change.expires_at
    return s.incomplete_expires_at if s.status == "incomplete" else None


def _end_change(s: SubscriptionState) -> list[Step]:
    """Return the step that drops an unpaid change. While a bank processes its payment, the step is
    due at the end of the new period, or never.
    """
    if s.change is None:
        return []
    due: datetime | None = s.change.expires_at
    if any(one.payment_status == "processing" for one in s.invoices if _is_of_change(s, one)):
        due = s.change.ends_at
    if due is None:
        return []
    key, words = f"{s.change.change}/expired", "give up the change: it was not paid"
    return [Step(name="end_change", due=due, key=key, words=words)]


def _first_payment_undecided(s: SubscriptionState) -> bool:
    """True while a bank decides on the first payment; or an operator, unless a new one waits."""
    waits_for = ("processing",) if s.superseded else ("processing", "pending_approval")
    return any(invoice.payment_status in waits_for for invoice in s.invoices)


def _abandon(s: SubscriptionState) -> list[Step]:
    """Return the step that gives up the first payment: when it expires, or at the first period's
    end while a bank or operator decides. In a state of 0.1.0, which a replayed run may read, they
    decide first.
    """
    undecided = _first_payment_undecided(s)
    if not undecided and (s.superseded or s.incomplete_expires_at is None):
        key = f"{s.subscription}/abandon"
        return [Step(name="abandon", due=AT_ONCE, key=key, words="give it up")]
    ends = [s.first_period_end, None if undecided else s.incomplete_expires_at]
    due = min((one for one in ends if one is not None), default=None)
    if due is None:
        return []
    key, words = f"{s.subscription}/incomplete-expired", "give up the first payment"
    return [Step(name="abandon", due=due, key=key, words=words)]


def _lifecycle(s: SubscriptionState) -> list[Step]:
    end = s.current_period_end
    suffix = keys.stamp(end)
    if s.went_back:
        key, words = f"{s.subscription}/end-unpaid-for", "end it: its payment went back"
        return [Step(name="end", due=AT_ONCE, key=key, words=words)]
    if s.cancel_at_period_end:
        last = _end(s, end)
    elif s.cancel_at is not None and s.cancel_at <= end:
        last = _end(s, s.cancel_at)
    # While `unpaid` nothing is served that could pause, so a pause waits.
    elif s.pauses and s.status in SERVED_AND_BILLED:
        last = Step(name="pause", due=end, key=f"{s.subscription}/pause-{suffix}", words="pause")
    elif s.status == "trialing":
        key = f"{s.subscription}/trial-end-{suffix}"
        last = Step(name="end_trial", due=end, key=key, words="end the trial")
    else:
        last = Step(name="renew", due=end, key=f"{s.subscription}/renew-{suffix}", words="renew")
    steps = _early(s) + _unpaid_too_long(s)
    if s.cycle_end < last.due:
        cycle = f"{s.subscription}/cycle-{keys.stamp(s.cycle_end)}"
        steps.append(Step(name="cycle", due=s.cycle_end, key=cycle, words="start a cycle"))
    return [*steps, *_notices(s, last), *_expiring_card(s, last), last]


def _while_paused(s: SubscriptionState) -> list[Step]:
    """Return the steps of a pause. No period closes then, so a commitment has its own step."""
    steps = [] if s.cancel_at is None else [_end(s, s.cancel_at)]
    if s.commitment_ends_at is not None:
        key = keys.commitment(s.subscription, s.commitment_ends_at)
        words, due = "bill the rest of the commitment", s.commitment_ends_at
        steps.append(Step(name="close_commitment", due=due, key=key, words=words))
    return steps


def _notices(s: SubscriptionState, last: Step) -> list[Step]:
    """Return the notices of the trial's end or the renewal; each is void once the next is due."""
    if last.name not in NOTICES:
        return []
    name, words = NOTICES[last.name]
    until = (*(one.due for one in s.notices[1:]), last.due)
    return [
        Step(
            name=name, due=one.due, key=f"{last.key}/told-{one.days}", until=void,
            words=f"{words} in {one.days} days",
        )
        for one, void in zip(s.notices, until, strict=False)
    ]  # fmt: skip


def _expiring_card(s: SubscriptionState, last: Step) -> list[Step]:
    """Return the notice of a card that expires before the charge; it is void once the charge is
    due.
    """
    if s.expiring is None or s.status == "unpaid" or last.name not in ("renew", "end_trial"):
        return []
    return [
        Step(
            name="tell_expiring", due=s.expiring.due, key=s.expiring.expiry, until=last.due,
            words="tell that the card ends before it is charged",
        )
    ]  # fmt: skip


def _end(s: SubscriptionState, at: datetime) -> Step:
    key = f"{s.subscription}/end-{keys.stamp(at)}"
    return Step(name="end", due=at, key=key, words="end it")


def _early(s: SubscriptionState) -> list[Step]:
    """Return the step that invoices overage early, once it reached the billing threshold."""
    if s.threshold_at is None or s.status not in SERVED_AND_BILLED:
        return []
    key = f"{s.subscription}/threshold-{s.threshold}"
    words = "invoice use that reached its threshold"
    return [Step(name="bill_early", due=s.threshold_at, key=key, words=words)]


def _unpaid_too_long(s: SubscriptionState) -> list[Step]:
    if s.status != "unpaid" or s.unpaid_until is None:
        return []
    key = f"{s.subscription}/end-unpaid-{keys.stamp(s.unpaid_until)}"
    words = "end it: what is overdue was never paid"
    return [Step(name="end_unpaid", due=s.unpaid_until, key=key, words=words)]


def words(s: SubscriptionState, price: str, plan: str, zone: str) -> str:
    """Return one line for the Temporal UI: the customer's status and the next step."""
    what = f"{plan}, {price}"
    step = head(agenda(s))
    if s.status in ENDED or step is None:
        return f"**{s.status}** {what}"
    local = periods.to_wall(step.due, zone) if step.due > AT_ONCE else None
    when = f"on {local:%-d %b %Y %H:%M} {zone}" if local else "now"
    return f"**{s.status.replace('_', ' ')}** {what}: {step.words} {when}"

"""The agenda of a purchase and the next action of its payer; pure functions of its rows."""

from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import AwareDatetime

from billing.matters.agenda import State, Step
from billing.money.payments.rules import next_action as payer_action
from billing.money.payments.rules import next_check
from billing.platform.provider_inbox.rules import WaitingEvent, event_step

Flow = Literal["card", "saved_card", "checkout", "paypal", "manual"]
HOSTED: Final = ("checkout", "paypal")
"""Flows whose payer is sent to a page of the provider."""
CHECK_BEFORE_EXPIRY: Final = timedelta(minutes=5)
REMIND_EVERY: Final = timedelta(days=5)
# A manual payer submits first, again after a refusal, and again for a missing remainder.
_MAY_SUBMIT: Final = (None, "failed", "canceled", "completed")


class PurchaseState(State):
    """The state of one purchase, read from its rows."""

    purchase: str
    """External id, the stem of its keys."""
    flow: Flow
    payment_status: str | None
    payment: str | None = None
    """External id of the payment that awaits approval, else the newest, and when it was made."""
    payment_at: AwareDatetime | None = None
    unsettled: str | None = None
    """External id of a payment whose money is in and not booked yet."""
    opened: bool
    submission: str | None = None
    """A manual payment that takes over when the open one has been called back."""
    unasked: str | None = None
    """A payment that could still bring money that is not owed: the purchase has ended, or a part of
    it was paid by hand; not in 0.1.0.
    """
    cancel_asked_at: AwareDatetime | None = None
    undecided: bool = False
    """The saved card was tried, and the result is not known yet."""
    created_at: AwareDatetime
    expires_at: AwareDatetime
    checks: int
    last_check_at: AwareDatetime | None = None
    events: tuple[WaitingEvent, ...] = ()
    """Provider events that were received and not handled yet."""


def agenda(state: PurchaseState) -> list[Step]:
    """Return all open steps, unordered. Immediate steps are due since the purchase was made."""
    if state.unsettled:
        suffix, words = f"{state.unsettled}/settled", "grant the credits"
        return [_step(state, "fulfil", suffix, state.created_at, words, payment=state.unsettled)]
    if state.status != "pending":
        return _ended(state)
    steps = _event_steps(state)
    if state.cancel_asked_at is not None:
        due, words = state.cancel_asked_at, "cancel it for its buyer"
        return [*steps, _step(state, "cancel", "cancel", due, words)]
    makes_way = state.submission or state.unasked
    if makes_way and state.payment_status != "processing":
        suffix = f"retire-{makes_way}"
        return [*steps, _step(state, "retire", suffix, state.created_at, "call the payment back")]
    if state.flow != "manual" and (state.undecided or not state.opened):
        opening = _step(state, "open", "open", state.created_at, "open the payment")
        if state.undecided:
            return [*steps, opening]
        steps.append(opening.model_copy(update={"until": state.expires_at}))
    elif state.flow != "manual":
        due, words = check_due(state), "ask PayPal" if state.flow == "paypal" else "ask Stripe"
        steps.append(_step(state, "check", f"check-{state.checks + 1}", due, words))
    if state.payment_status == "pending_approval":
        steps.append(_remind(state))
    elif state.payment_status != "processing":
        steps.append(_step(state, "expire", "expire", state.expires_at, "let it expire"))
    return steps


def _ended(state: PurchaseState) -> list[Step]:
    """Call back a payment that could still bring money, then handle the waiting events; a transfer
    waits for its decision.
    """
    if state.unasked is None:
        return _event_steps(state)
    if state.payment_status == "pending_approval":
        return [*_event_steps(state), _remind(state)]
    suffix = f"retire-{state.unasked}"
    return [_step(state, "retire", suffix, state.created_at, "call the payment back")]


def _event_steps(state: PurchaseState) -> list[Step]:
    return [event_step(state.purchase, one) for one in state.events[:1]]


def check_due(state: PurchaseState) -> datetime:
    """Return when to check next: at the usual times, and once shortly before expiry."""
    due = next_check(state.created_at, state.checks, state.last_check_at)
    before_expiry = state.expires_at - CHECK_BEFORE_EXPIRY
    last = state.last_check_at or state.created_at
    return min(due, before_expiry) if last < before_expiry else due


def status_words(state: "PurchaseState", what: str) -> str:
    """One line for the Temporal UI; `what` names pack and price."""
    match state.status:
        case "pending" if state.payment_status == "processing":
            return f"{what}: the bank is processing the payment"
        case "pending" if state.payment_status == "pending_approval":
            return f"{what}: an operator must approve the manual payment"
        case "pending":
            return f"{what}: waiting for the payment until {state.expires_at:%-d %b %Y %H:%M} UTC"
        case status:
            return f"{what}: {status}"


def next_action(
    *,
    status: str,
    flow: Flow,
    payment_status: str | None,
    client_secret: str | None,
    redirect_url: str | None,
    transfer: dict[str, Any] | None,
) -> dict[str, Any]:
    """The buyer's next action: none | confirm_card | redirect | manual | wait [E4]."""
    if transfer is not None and payment_status in _MAY_SUBMIT:
        return transfer
    return payer_action(
        owed=status == "pending",
        payment_status=payment_status,
        client_secret=client_secret,
        redirect_url=redirect_url if flow in HOSTED else None,
    )


def _remind(state: PurchaseState) -> Step:
    """Remind operators repeatedly, because a purchase they must decide on does not expire."""
    due = (state.last_check_at or state.payment_at or state.created_at) + REMIND_EVERY
    suffix = f"remind-{state.payment}-{state.checks + 1}"
    words = "remind operators to decide"
    return _step(state, "remind", suffix, due, words, payment=state.payment)


def _step(
    state: PurchaseState, name: str, suffix: str, due: datetime, words: str, **facts: Any
) -> Step:
    return Step(name=name, due=due, key=f"{state.purchase}/{suffix}", words=words, **facts)

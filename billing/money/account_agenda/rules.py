"""The agenda of an account: credits that expire, cards being saved or removed, unpaid uses.

A pure function of its rows; none of its steps waits for another one.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime

from billing.core import keys
from billing.core.frozen import Frozen
from billing.matters.agenda import State, Step
from billing.money.payment_methods.rules import setup_expires_at
from billing.money.payments.rules import next_check
from billing.platform.provider_inbox.rules import WaitingEvent, event_step

BETWEEN_CARDS: Final = timedelta(days=1)
"""Pause before the next unpaid use after a card failed to pay one, and before one that a card is
being charged for is looked at again."""


class SetupPlan(Frozen):
    """One card being saved."""

    setup: str
    """External id, the stem of its keys."""
    opened: bool
    created_at: AwareDatetime
    checks: int = 0
    asked_at: AwareDatetime | None = None
    asks: int = 0
    """Its owner may ask twice at one instant of a frozen clock."""


class RemovalPlan(Frozen):
    """One method that its owner removed and the provider still has."""

    method: str
    removed_at: AwareDatetime


class PortalPlan(Frozen):
    """One requested visit to the provider's portal."""

    portal: str
    """External id, the stem of its key."""
    created_at: AwareDatetime


class TopUpPlan(Frozen):
    """Credits that are wanted and not being bought yet."""

    top_up: str
    """External id, the stem of its key."""
    wanted_at: AwareDatetime


class CompletionPlan(Frozen):
    """One part of the many records behind an invoice's line that are still pending."""

    invoice: str
    """External id, the stem of its key."""
    meter: str
    start_at: AwareDatetime
    """Start of the cycle that the line bills."""
    part: int
    began_at: AwareDatetime


class TaxAskPlan(Frozen):
    """A due query to the tax provider for the account's address."""

    wanted: str
    """Digest of the address."""
    due: AwareDatetime


class RetryPlan(Frozen):
    """Credits came while uses are unpaid: the uses that they cover must be paid."""

    id: UUID
    asked_at: AwareDatetime


class ChargePlan(Frozen):
    """The unpaid use that a card should pay next."""

    use: str
    """External id of the billing record, the stem of its key."""
    tries: int
    due: AwareDatetime


class AccountState(State):
    """The state of one account's own matter, read from its rows."""

    account: str
    """External id, the stem of its keys."""
    next_expiry: AwareDatetime | None = None
    """Earliest instant at which a lot or hold may expire; early is possible, late is not."""
    next_notice: AwareDatetime | None = None
    """Next instant at which the account is notified that credits end soon."""
    top_up: TopUpPlan | None = None
    top_up_from: AwareDatetime | None = None
    """End of a pause, after which it is checked whether credits are wanted."""
    late_usage: AwareDatetime | None = None
    """Instant at which late use of an ended subscription is invoiced."""
    limits_due: AwareDatetime | None = None
    """Instant at which a limit that was agreed with the account begins or ends."""
    completion: CompletionPlan | None = None
    vat_check: AwareDatetime | None = None
    """Instant at which the register is asked for the account's VAT id."""
    vat_credit: AwareDatetime | None = None
    """Instant at which tax that was charged before the id was proven is given back."""
    vat_turn: int = 0
    """A counter in the keys of these two steps, raised by each request."""
    tax_ask: TaxAskPlan | None = None
    unpaid_retry: RetryPlan | None = None
    unpaid_notice: AwareDatetime | None = None
    """Instant at which the account is notified of uses that stay unpaid."""
    unpaid_charge: ChargePlan | None = None
    setups: tuple[SetupPlan, ...] = ()
    removals: tuple[RemovalPlan, ...] = ()
    portals: tuple[PortalPlan, ...] = ()
    events: tuple[WaitingEvent, ...] = ()
    """Provider events that were received and not handled yet."""


DATED: Final = {
    "notice": ("next_notice", "notice", "tell that credits end soon"),
    "bill": ("late_usage", "late-usage", "invoice late use"),
    "limits": ("limits_due", "limits", "begin or end an agreed limit"),
    "expire_credits": ("next_expiry", "expire", "let credits expire"),
}
"""Steps with only a date, listed after those of uses: its field, the stem of the key, and words."""
_DATED_WORDS: Final = {
    "top_up_from": "no credits are bought before {}",
    "late_usage": "late use is invoiced on {}",
    "limits_due": "an agreed limit changes on {}",
    "vat_credit": "tax is given back on {}",
    "vat_check": "its VAT id is looked up on {}",
    "unpaid_notice": "unpaid uses are told of on {}",
    "next_expiry": "credits expire on {}",
}


def agenda(state: AccountState) -> list[Step]:
    """Return all open steps, unordered."""
    steps = [event_step(state.account, event) for event in state.events]
    steps += [_setup_step(setup) for setup in state.setups]
    steps += [_detach_step(one) for one in state.removals]
    steps += [_portal_step(one) for one in state.portals]
    steps += _top_up_steps(state) + _unpaid_steps(state) + _vat_steps(state)
    for name, (field, stem, words) in DATED.items():
        due = getattr(state, field)
        if due is not None:
            key = f"{state.account}/{stem}-{keys.stamp_exact(due)}"
            steps.append(Step(name=name, due=due, key=key, words=words))
    if state.tax_ask is not None:
        steps.append(_tax_step(state.account, state.tax_ask))
    if state.completion is not None:
        of = state.completion
        key = f"{of.invoice}/complete-{of.meter}-{keys.stamp_exact(of.start_at)}-{of.part}"
        words = f"complete the uses of {of.meter} that an invoice bills"
        steps.append(Step(name="complete", due=of.began_at, key=key, words=words))
    return steps


def _detach_step(removal: RemovalPlan) -> Step:
    return Step(
        name="detach",
        due=removal.removed_at,
        key=f"{removal.method}/detach",
        words="detach the card at Stripe",
        method=removal.method,
    )


def _vat_steps(state: AccountState) -> list[Step]:
    """Return the VAT steps; the turn keeps keys distinct if a frozen clock sees two ids."""
    steps = []
    if state.vat_credit is not None:
        key = f"{state.account}/vat-credit-{state.vat_turn}-{keys.stamp_exact(state.vat_credit)}"
        words = "give back tax charged before the VAT id's proof"
        steps.append(Step(name="credit_tax", due=state.vat_credit, key=key, words=words))
    if state.vat_check is not None:
        key = f"{state.account}/vat-{state.vat_turn}-{keys.stamp_exact(state.vat_check)}"
        words = "look the VAT id up"
        steps.append(Step(name="check_vat", due=state.vat_check, key=key, words=words))
    return steps


def _tax_step(account: str, ask: TaxAskPlan) -> Step:
    # An address may change twice while a frozen clock stands still.
    key = f"{account}/tax-{ask.wanted[:16]}-{keys.stamp_exact(ask.due)}"
    return Step(name="ask_tax", due=ask.due, key=key, words="ask the tax provider for its rates")


def _portal_step(visit: PortalPlan) -> Step:
    return Step(
        name="portal",
        due=visit.created_at,
        key=f"{visit.portal}/open",
        words="open the portal at Stripe",
        portal=visit.portal,
    )


def state_words(state: AccountState) -> str:
    """One line for the Temporal UI."""
    parts = []
    if state.setups:
        parts.append(f"{len(state.setups)} card(s) being saved")
    if state.removals:
        parts.append(f"{len(state.removals)} card(s) being removed")
    if state.portals:
        parts.append(f"{len(state.portals)} visit(s) of the portal asked for")
    if state.top_up is not None:
        parts.append("credits are about to be bought")
    if state.completion is not None:
        parts.append(f"uses of {state.completion.meter} are being completed")
    if state.unpaid_retry is not None:
        parts.append("unpaid uses are about to be paid")
    if state.unpaid_charge is not None:
        parts.append(f"a card may pay an unpaid use on {_date(state.unpaid_charge.due)}")
    if state.tax_ask is not None:
        parts.append(f"its taxes are asked for on {_date(state.tax_ask.due)}")
    dated = ((words, getattr(state, field)) for field, words in _DATED_WORDS.items())
    parts += [words.format(_date(due)) for words, due in dated if due is not None]
    return "; ".join(parts) or "nothing to do"


def _date(due: datetime) -> str:
    return f"{due:%-d %b %Y %H:%M} UTC"


def _setup_step(setup: SetupPlan) -> Step:
    """Open it at once; then check on request, else after 1 min, 10 min, 1 h, and at its end."""
    if not setup.opened:
        key = f"{setup.setup}/open"
        words = "start saving a card"
        return Step(name="setup", due=setup.created_at, key=key, words=words, setup=setup.setup)
    if setup.asked_at is not None:
        due, suffix = setup.asked_at, f"asked-{setup.asks}-{keys.stamp_exact(setup.asked_at)}"
    else:
        planned = next_check(setup.created_at, setup.checks, None)
        due = min(planned, setup_expires_at(setup.created_at))
        suffix = f"check-{setup.checks + 1}"
    return Step(
        name="setup",
        due=due,
        key=f"{setup.setup}/{suffix}",
        words="ask Stripe for the card",
        setup=setup.setup,
        asked=setup.asked_at is not None,
    )


def _top_up_steps(state: AccountState) -> list[Step]:
    """Buy wanted credits at once; after a pause, check whether they are wanted."""
    if state.top_up is not None:
        key = f"{state.top_up.top_up}/buy"
        wanted = state.top_up
        return [
            Step(
                name="top_up",
                due=wanted.wanted_at,
                key=key,
                words="buy credits",
                top_up=wanted.top_up,
            )
        ]
    if state.top_up_from is not None:
        key = f"{state.account}/top-up-{keys.stamp_exact(state.top_up_from)}"
        words = "see whether credits are wanted"
        return [Step(name="top_up", due=state.top_up_from, key=key, words=words)]
    return []


def _unpaid_steps(state: AccountState) -> list[Step]:
    """New credits pay first; a week later the customer is notified, and then a card is tried."""
    steps = []
    if state.unpaid_retry is not None:
        wish = state.unpaid_retry
        key = f"{state.account}/settle-uses-{wish.id}"
        words = "pay unpaid uses with credits"
        steps.append(Step(name="settle_uses", due=wish.asked_at, key=key, words=words))
    if state.unpaid_notice is not None:
        # Not one of DATED: it comes before a card that is due at the same time.
        due = state.unpaid_notice
        key = f"{state.account}/unpaid-{keys.stamp_exact(due)}"
        steps.append(Step(name="tell_unpaid", due=due, key=key, words="tell of unpaid uses"))
    if state.unpaid_charge is not None:
        charge = state.unpaid_charge
        key = keys.use_charge(charge.use, charge.tries + 1)
        words = "have a card pay an unpaid use"
        steps.append(Step(name="charge_use", due=charge.due, key=key, words=words, use=charge.use))
    return steps

"""What workflows may ask of the world: one class of activities per noun, with the errors of each.

Implementations live in `activities/`, subclass these and repeat the names. Every step activity
locks its row, does the step only while it is the due head of the agenda, at most once by its
key, and answers with the matter's fresh state.
"""

from typing import Final, Generic, TypeVar

from temporalio import activity

from billing.accounts.rules import AccountState
from billing.charges.rules import ChargeState
from billing.core.agenda import State
from billing.dunning.rules import CollectionState
from billing.purchases.rules import PurchaseState
from billing.subscriptions.rules import SubscriptionState
from billing.trials.rules import TrialState
from workflows.contracts import (
    CommandRequest,
    HaltRequest,
    MatterRef,
    StepRequest,
    SweepReport,
    SweepRequest,
    WalkMove,
    WalkRequest,
)

S = TypeVar("S", bound=State)
LOAD: Final = "load"
PERFORM: Final = "perform"


class MatterSteps(Generic[S]):
    """What every matter can be asked."""

    async def load(self, ref: MatterRef) -> S:
        """The rows' word. Errors: NOT_FOUND (not retried)."""
        raise NotImplementedError

    async def perform(self, request: CommandRequest) -> S:
        """Carry out an operator's command. Errors: the verb's refusals (not retried)."""
        raise NotImplementedError


class Register:
    """The register of matters."""

    @activity.defn(name="matter.halted")
    async def halted(self, request: HaltRequest) -> None:
        """Note that a matter is stuck, with the reason; None: it goes on."""
        raise NotImplementedError


class Purchases(MatterSteps[PurchaseState]):
    """Steps of a purchase."""

    @activity.defn(name="purchase.load")
    async def load(self, ref: MatterRef) -> PurchaseState:
        raise NotImplementedError

    @activity.defn(name="purchase.perform")
    async def perform(self, request: CommandRequest) -> PurchaseState:
        raise NotImplementedError

    @activity.defn(name="purchase.open")
    async def open(self, request: StepRequest) -> PurchaseState:
        """Create the intent or session, and charge a saved card. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="purchase.check")
    async def check(self, request: StepRequest) -> PurchaseState:
        """Ask Stripe where the payment stands and follow it. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="purchase.fulfil")
    async def fulfil(self, request: StepRequest) -> PurchaseState:
        """Grant the credits of a paid purchase, once. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="purchase.retire")
    async def retire(self, request: StepRequest) -> PurchaseState:
        """Call an open payment back at Stripe. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="purchase.remind")
    async def remind(self, request: StepRequest) -> PurchaseState:
        """Tell operators that a payment awaits their decision. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="purchase.expire")
    async def expire(self, request: StepRequest) -> PurchaseState:
        """Cancel at the provider, then follow what it says. Retried: provider away."""
        raise NotImplementedError


class Trials(MatterSteps[TrialState]):
    """Steps of a trial of credits."""

    @activity.defn(name="trial.load")
    async def load(self, ref: MatterRef) -> TrialState:
        raise NotImplementedError

    @activity.defn(name="trial.perform")
    async def perform(self, request: CommandRequest) -> TrialState:
        raise NotImplementedError

    @activity.defn(name="trial.expire")
    async def expire(self, request: StepRequest) -> TrialState:
        """Lapse what is left of the trial's credits. Retried: Postgres away."""
        raise NotImplementedError


class Subscriptions(MatterSteps[SubscriptionState]):
    """Steps of a subscription."""

    @activity.defn(name="subscription.load")
    async def load(self, ref: MatterRef) -> SubscriptionState:
        raise NotImplementedError

    @activity.defn(name="subscription.perform")
    async def perform(self, request: CommandRequest) -> SubscriptionState:
        raise NotImplementedError

    @activity.defn(name="subscription.charge")
    async def charge(self, request: StepRequest) -> SubscriptionState:
        """Try one card for one invoice, once by its key. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="subscription.open")
    async def open(self, request: StepRequest) -> SubscriptionState:
        """Make the intent the payer confirms. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="subscription.check")
    async def check(self, request: StepRequest) -> SubscriptionState:
        """Ask Stripe where a payment stands and follow it. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="subscription.settle")
    async def settle(self, request: StepRequest) -> SubscriptionState:
        """Book the money of an approved payment. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="subscription.end_approval")
    async def end_approval(self, request: StepRequest) -> SubscriptionState:
        """Stop waiting for an approval. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="subscription.retire")
    async def retire(self, request: StepRequest) -> SubscriptionState:
        """Call an open payment back at Stripe. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="subscription.give_up")
    async def give_up(self, request: StepRequest) -> SubscriptionState:
        """The final action of dunning. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="subscription.renew")
    async def renew(self, request: StepRequest) -> SubscriptionState:
        """The next period, its invoice and cycle. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="subscription.bill_early")
    async def bill_early(self, request: StepRequest) -> SubscriptionState:
        """An invoice for use that reached its threshold. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="subscription.end_trial")
    async def end_trial(self, request: StepRequest) -> SubscriptionState:
        """The first paid period, a pause or the end. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="subscription.cycle")
    async def cycle(self, request: StepRequest) -> SubscriptionState:
        """The next allowance cycle and its credits. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="subscription.end")
    async def end(self, request: StepRequest) -> SubscriptionState:
        """The scheduled end. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="subscription.abandon")
    async def abandon(self, request: StepRequest) -> SubscriptionState:
        """Give up the first payment, Stripe's word first. Retried: provider away."""
        raise NotImplementedError


class Collections(MatterSteps[CollectionState]):
    """Steps of a collection."""

    @activity.defn(name="collection.load")
    async def load(self, ref: MatterRef) -> CollectionState:
        raise NotImplementedError

    @activity.defn(name="collection.perform")
    async def perform(self, request: CommandRequest) -> CollectionState:
        raise NotImplementedError

    @activity.defn(name="collection.charge")
    async def charge(self, request: StepRequest) -> CollectionState:
        """Try one card for one invoice, once by its key. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="collection.open")
    async def open(self, request: StepRequest) -> CollectionState:
        """Make the intent the payer confirms. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="collection.check")
    async def check(self, request: StepRequest) -> CollectionState:
        """Ask Stripe where a payment stands and follow it. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="collection.settle")
    async def settle(self, request: StepRequest) -> CollectionState:
        """Book the money of an approved payment. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="collection.end_approval")
    async def end_approval(self, request: StepRequest) -> CollectionState:
        """Stop waiting for an approval. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="collection.retire")
    async def retire(self, request: StepRequest) -> CollectionState:
        """Call an open payment back at Stripe. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="collection.give_up")
    async def give_up(self, request: StepRequest) -> CollectionState:
        """The final action of dunning. Retried: provider away."""
        raise NotImplementedError


class Charges(MatterSteps[ChargeState]):
    """Steps of a use that a card pays at once."""

    @activity.defn(name="charge.load")
    async def load(self, ref: MatterRef) -> ChargeState:
        raise NotImplementedError

    @activity.defn(name="charge.perform")
    async def perform(self, request: CommandRequest) -> ChargeState:
        raise NotImplementedError

    @activity.defn(name="charge.charge")
    async def charge(self, request: StepRequest) -> ChargeState:
        """Try the card, once by its key. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="charge.open")
    async def open(self, request: StepRequest) -> ChargeState:
        """Make the intent the payer confirms. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="charge.check")
    async def check(self, request: StepRequest) -> ChargeState:
        """Ask Stripe where the payment stands and follow it. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="charge.settle")
    async def settle(self, request: StepRequest) -> ChargeState:
        """Book the money of an approved payment. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="charge.end_approval")
    async def end_approval(self, request: StepRequest) -> ChargeState:
        """Stop waiting for an approval. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="charge.retire")
    async def retire(self, request: StepRequest) -> ChargeState:
        """Call an open payment back at Stripe. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="charge.expire")
    async def expire(self, request: StepRequest) -> ChargeState:
        """Give the charge up, Stripe's word first. Retried: provider away."""
        raise NotImplementedError


class Accounts(MatterSteps[AccountState]):
    """Steps of an account itself."""

    @activity.defn(name="account.load")
    async def load(self, ref: MatterRef) -> AccountState:
        raise NotImplementedError

    @activity.defn(name="account.perform")
    async def perform(self, request: CommandRequest) -> AccountState:
        raise NotImplementedError

    @activity.defn(name="account.lapse")
    async def lapse(self, request: StepRequest) -> AccountState:
        """End the lots and holds whose time has come. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="account.notice")
    async def notice(self, request: StepRequest) -> AccountState:
        """Tell that credits end soon, once per lot. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="account.top_up")
    async def top_up(self, request: StepRequest) -> AccountState:
        """Buy the credits that are wanted, or see whether they are. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="account.bill")
    async def bill(self, request: StepRequest) -> AccountState:
        """Invoice late use of subscriptions that have ended. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="account.limits")
    async def limits(self, request: StepRequest) -> AccountState:
        """Let the open cycle follow a limit that begins or ends. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="account.complete")
    async def complete(self, request: StepRequest) -> AccountState:
        """Complete a part of the uses that an invoice bills. Retried: Postgres away."""
        raise NotImplementedError

    @activity.defn(name="account.setup")
    async def setup(self, request: StepRequest) -> AccountState:
        """Start saving a card, or ask Stripe what became of it. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="account.detach")
    async def detach(self, request: StepRequest) -> AccountState:
        """Have Stripe forget a removed card. Retried: provider away."""
        raise NotImplementedError

    @activity.defn(name="account.check")
    async def check(self, request: StepRequest) -> AccountState:
        """Look into a Stripe event about a card. Retried: provider away."""
        raise NotImplementedError


class Clock:
    """The walk of an account's test clock."""

    @activity.defn(name="clock.walk")
    async def walk(self, request: WalkRequest) -> WalkMove:
        """Set the clock to the next due instant up to the target and settle that matter."""
        raise NotImplementedError


class Sweeper:
    """Jobs of the schedules."""

    @activity.defn(name="sweeper.sweep")
    async def sweep(self, request: SweepRequest) -> SweepReport:
        """One pass over one kind of leftover. Retried by the next run of the schedule."""
        raise NotImplementedError

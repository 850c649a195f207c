"""What workflows may ask of the world: one class of activities per noun, with the errors of each.

Implementations live in `activities/`, subclass these and repeat the names. Every step activity
locks its row, does the step only while it is the due head of the agenda, at most once by its
key, and answers with the matter's fresh state.
"""

from typing import Final, Generic, TypeVar

from temporalio import activity

from billing.core.agenda import State
from billing.purchases.rules import PurchaseState
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

"""The steps of a subscription: its periods and trial, and the invoices it collects."""

from typing import Final

from activities.decisions import COLLECTING_STEPS, DecidingActivities, left_alone
from activities.dependencies import Dependencies
from activities.timing import now_of
from billing.core.errors import BillingError
from billing.matters.agenda import head
from billing.matters.kinds import SUBSCRIPTION
from billing.money.subscriptions.reading import ENGINE
from billing.money.subscriptions.rules import CHARGED_AT_ONCE, SubscriptionState, agenda
from workflows.contracts import StepRequest

STEPS: Final = (
    *COLLECTING_STEPS, "give_up", "renew", "end_trial", "cycle", "bill_early", "pause", "end",
    "end_unpaid", "end_change", "abandon", "tell_expiring", "tell_trial_ending", "tell_renewal",
    "close_commitment",
)  # fmt: skip


class SubscriptionActivities(DecidingActivities[SubscriptionState]):
    """The activities of a subscription: its periods, trial and invoices."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies, SUBSCRIPTION, ENGINE, STEPS)

    async def after(self, request: StepRequest, state: SubscriptionState) -> SubscriptionState:
        """Continue a renewal with its charge, which saves a third of its Temporal events.

        Usually the decision has begun the charge. If the activity is cut off, its next try finds
        its own step done and continues here.
        """
        follower = CHARGED_AT_ONCE.get(request.step.name)
        if follower is None:
            return state
        step, now = head(agenda(state)), now_of(state)
        if step is None or step.name != follower or step.due > now:
            return state
        try:
            return await self._step(request.model_copy(update={"step": step}))
        except BillingError as error:
            return left_alone(step, state, error)

"""The part of a run's state that operators see in Temporal."""

from datetime import datetime

from temporalio import workflow

from billing.matters.agenda import State
from workflows.attributes import BILLING_STATUS, HALTED, PLAN, updates


class Shown:
    """The status and plan that the search attributes have, which are set only if one changes."""

    def __init__(self) -> None:
        attributes = workflow.info().typed_search_attributes  # as the starter has set them
        self._last: tuple[str | None, str | None] | None = (
            attributes.get(BILLING_STATUS),
            attributes.get(PLAN),
        )

    def differs_from(self, state: State) -> bool:
        """True if operators do not see this state's status and plan yet."""
        return self._last != (state.status, state.plan)

    def show(self, state: State, due: datetime | None) -> None:
        """Show a state whose next step is due at an instant (None: it has none)."""
        plan_before = self._last and self._last[1]
        workflow.upsert_search_attributes(updates(state, plan_before, due))
        self._last = (state.status, state.plan)

    def halt(self, reason: str) -> None:
        """Show that the matter is halted; the next state is shown whatever it is."""
        self._last = None
        workflow.set_current_details(f"**halted** {reason}")
        workflow.upsert_search_attributes([BILLING_STATUS.value_set(HALTED)])

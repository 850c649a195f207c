"""One comparison of rows with the provider's objects, however many there are."""

from temporalio import workflow

from workflows.contracts import ReconcileMove, ReconcileRequest
from workflows.policies import FOLLOWS_RELEASES, PASS_TIMEOUT, POLICIES


@workflow.defn(name="Reconciliation", versioning_behavior=FOLLOWS_RELEASES)
class ReconciliationWorkflow:
    """Workflow `reconciliation/{run}`; closes when everything is compared, or the provider refuses.

    The run's row has its position and what it found; without the provider's answer it waits.
    """

    @workflow.run
    async def run(self, request: ReconcileRequest) -> ReconcileMove:
        """Read pages until none is left."""
        while True:
            move: ReconcileMove = await workflow.execute_activity(
                "reconciliation.read",
                request,
                result_type=ReconcileMove,
                start_to_close_timeout=PASS_TIMEOUT,
                heartbeat_timeout=POLICIES.sweep_heartbeat,
                retry_policy=POLICIES.retry,
                summary="compare pages",
            )
            workflow.set_current_details(f"{move.checked} objects, {move.discrepancies} differ")
            if move.done:
                return move
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request)

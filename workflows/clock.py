"""The walk of a test account's clock: one walker per account, from due instant to due instant."""

from temporalio import workflow

from workflows.contracts import WalkMove, WalkRequest
from workflows.policies import FOLLOWS_RELEASES, POLICIES


@workflow.defn(name="Clock", versioning_behavior=FOLLOWS_RELEASES)
class ClockWorkflow:
    """Workflow `clock/{account}`; closes when the clock has arrived or is blocked."""

    @workflow.init
    def __init__(self, request: WalkRequest) -> None:
        self.request = request
        self.aimed = 0

    @workflow.signal(description="The target moved on")
    def aim(self) -> None:
        """Count a new target; the activity reads it from the account's row."""
        self.aimed += 1

    @workflow.run
    async def run(self, request: WalkRequest) -> WalkMove:
        """Move until nothing is due before the target, or until a matter is stuck."""
        while True:
            seen = self.aimed
            move: WalkMove = await workflow.execute_activity(
                "clock.walk",
                request,
                result_type=WalkMove,
                start_to_close_timeout=POLICIES.walk_timeout,
                heartbeat_timeout=POLICIES.walk_heartbeat,
                retry_policy=POLICIES.retry,
                summary="walk the clock",
            )
            workflow.set_current_details(_words(move))
            if move.done and self.aimed == seen:
                return move
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request)


def _words(move: WalkMove) -> str:
    where = f"{move.clock_at:%-d %b %Y %H:%M} UTC"
    if move.blocked:
        return f"**blocked** at {where}: {move.blocked}"
    return f"at {where}" + ("" if move.done else f", after {move.moved}")

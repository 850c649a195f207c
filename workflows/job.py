"""One pass of a schedule's job."""

from typing import Final

from temporalio import workflow

from workflows.contracts import JobReport, JobRequest
from workflows.policies import (
    FOLLOWS_RELEASES,
    PASS_HEARTBEAT,
    PASS_TIMEOUT,
    POLICIES,
    SWEEP_TIMEOUT,
)

# The one bounded job; the others read everything, or delete all old data, however long that takes.
BOUNDED: Final = "sweep"
# Safety nets that must run again soon if their worker died.
NETS: Final = frozenset({BOUNDED, "poll"})


# Histories have this name and its activity's: once the sweep was the only job.
@workflow.defn(name="Sweep", versioning_behavior=FOLLOWS_RELEASES)
class JobWorkflow:
    """A job started by a schedule; the next run repeats what this one could not do."""

    @workflow.run
    async def run(self, request: JobRequest) -> JobReport:
        """Run the job once; a full pass continues where its last try stopped."""
        timeout = SWEEP_TIMEOUT if request.name == BOUNDED else PASS_TIMEOUT
        is_net = request.name in NETS
        report: JobReport = await workflow.execute_activity(
            "sweeper.sweep",
            request,
            result_type=JobReport,
            start_to_close_timeout=timeout,
            schedule_to_close_timeout=timeout,
            heartbeat_timeout=POLICIES.sweep_heartbeat if is_net else PASS_HEARTBEAT,
            retry_policy=POLICIES.retry,
            summary=request.name,
        )
        return report

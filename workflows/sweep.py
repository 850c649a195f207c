"""One pass of a schedule's job."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.contracts import SweepReport, SweepRequest
    from workflows.policies import LIVES_A_DAY, POLICIES, SWEEP_HEARTBEAT, SWEEP_TIMEOUT


@workflow.defn(name="Sweep", versioning_behavior=LIVES_A_DAY)
class SweepWorkflow:
    """Started by a schedule; the next run repeats what this one could not do."""

    @workflow.run
    async def run(self, request: SweepRequest) -> SweepReport:
        """Run the job once."""
        report: SweepReport = await workflow.execute_activity(
            "sweeper.sweep",
            request,
            result_type=SweepReport,
            start_to_close_timeout=SWEEP_TIMEOUT,
            schedule_to_close_timeout=SWEEP_TIMEOUT,
            heartbeat_timeout=SWEEP_HEARTBEAT if request.name == "ensure-running" else None,
            retry_policy=POLICIES.retry,
            summary=request.name,
        )
        return report

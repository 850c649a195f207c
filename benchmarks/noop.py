"""The yardstick: a workflow with one empty activity."""

from datetime import timedelta

from temporalio import activity, workflow


@activity.defn(name="bench.nothing")
async def nothing(number: int) -> int:
    """Do nothing."""
    return number


@workflow.defn(name="BenchNoop")
class NoopWorkflow:
    """One empty activity, and done."""

    @workflow.run
    async def run(self, number: int) -> int:
        """Run it."""
        done: int = await workflow.execute_activity(
            "bench.nothing", number, start_to_close_timeout=timedelta(seconds=30)
        )
        return done

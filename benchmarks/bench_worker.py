"""The product's own worker plus the yardstick: `python -m benchmarks.bench_worker`."""

import gc

import uvloop

import worker
from activities import registry as activities
from benchmarks.noop import NoopWorkflow, nothing
from workflows import registry as workflows


def main() -> None:
    """Register the yardstick, then run the product's worker as it is."""
    workflows.WORKFLOWS.append(NoopWorkflow)
    built = activities.build_activities
    worker.build_activities = lambda dependencies, client: [*built(dependencies, client), nothing]  # type: ignore[attr-defined]
    uvloop.run(worker.main())
    gc.collect()


if __name__ == "__main__":
    main()

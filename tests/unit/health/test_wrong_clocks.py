"""A worker that takes no work because of its clock is named, and an API that serves on, too."""

from datetime import timedelta

from billing.platform.processes.schemas import Figures as Own
from tests.unit.health.test_signs import figures, process, unhealthy


def test_a_worker_that_takes_no_work_because_of_its_clock_is_named() -> None:
    far, own = timedelta(hours=2), Own(has_wrong_clock=True)
    wrong = (
        process(n, kind, clock_ahead=far, figures=own) for n, kind in ((3, "worker"), (4, "api"))
    )
    assert unhealthy(figures(*wrong)) == {
        "clocks": "not the database's: worker 3 on one by +7200.0 s, and takes no work;"
        " api 4 on one by +7200.0 s"
    }

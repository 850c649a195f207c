"""A process that does nothing because of its clock is named, with what that means."""

from datetime import timedelta

from billing.platform.processes.schemas import Figures as Own
from tests.unit.health.test_signs import figures, process, unhealthy


def test_processes_whose_clock_is_far_off_are_named() -> None:
    far, own = timedelta(hours=2), Own(has_wrong_clock=True)
    wrong = (
        process(n, kind, clock_ahead=far, figures=own) for n, kind in ((3, "worker"), (4, "api"))
    )
    assert unhealthy(figures(*wrong)) == {
        "clocks": "not the database's: worker 3 on one by +7200.0 s, and takes no work;"
        " api 4 on one by +7200.0 s, and changes nothing"
    }

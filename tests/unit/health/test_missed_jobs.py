"""Jobs that repeat are missed, also those that never ended well or were never begun."""

from datetime import timedelta
from unittest.mock import Mock

from activities.scheduled_jobs import ScheduledJobs
from billing.insight.health import rules
from billing.insight.integrity.rules import JOB as AUDIT
from tests.unit.health.test_signs import NOW, figures, process, unhealthy
from workflows.job import NETS
from workflows.schedules import JOBS


def test_a_job_that_ended_no_run_for_too_long_is_named() -> None:
    def looked(**hours: float) -> dict[str, str]:
        names = {job.replace("_", "-"): NOW - timedelta(hours=ago) for job, ago in hours.items()}
        others = dict.fromkeys(rules.JOBS_LATE, NOW)
        return unhealthy(figures(looked=others | names))

    assert looked(sweep=0.2, poll=0.4, usage_sync=2, housekeeping=49) == {}
    assert looked(sweep=0.3, poll=3, usage_sync=4) == {
        "jobs": "looked: poll at nothing of the last 3 h, sweep at nothing of the last 18 min,"
        " usage-sync at nothing of the last 4 h"
    }


def test_a_job_that_was_never_begun_is_missed_once_a_worker_has_run_for_long() -> None:
    def after(hours: float) -> dict[str, str]:
        old = process(1, started_at=NOW - timedelta(hours=hours))
        return unhealthy(figures(processes=(old, process(2, "api")), looked={}))

    assert after(0.2) == {}
    assert after(0.3) == {"jobs": "looked: sweep never, though a worker runs"}
    assert after(51) == {
        "hourly audit": "none was ever begun, though a worker runs",
        "jobs": "looked: "
        + ", ".join(f"{job} never, though a worker runs" for job in sorted(rules.JOBS_LATE)),
    }
    gone = process(1, seen=3_600, started_at=NOW - timedelta(hours=51))
    assert unhealthy(figures(processes=(gone, process(2, "api")), looked={})).keys() == {"worker"}


def test_the_hourly_audit_is_ill_when_it_is_tried_and_never_ends_well() -> None:
    def tried(hours: float) -> dict[str, str]:
        looked = dict.fromkeys(rules.JOBS_LATE, NOW)
        return unhealthy(figures(looked=looked | {AUDIT: NOW - timedelta(hours=hours)}))

    assert tried(2.9) == {}
    assert tried(4) == {"hourly audit": "none has ended well since 4 h ago"}


def test_each_scheduled_job_is_one_that_a_worker_does_and_that_is_missed() -> None:
    done = ScheduledJobs(Mock(), Mock()).jobs
    assert JOBS.keys() == done.keys() == {*rules.JOBS_LATE, AUDIT} >= NETS

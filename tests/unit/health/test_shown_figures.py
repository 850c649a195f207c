"""Gauges show the figures from which alerts fire."""

from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from api.monitoring import gauges
from billing.core.settings import Settings
from billing.insight.health import store
from billing.insight.health.schemas import Charges
from billing.insight.integrity.schemas import Run
from billing.platform.processes.agreement import agreed
from billing.platform.processes.schemas import Figures as Own
from billing.platform.processes.schemas import Process
from tests.unit.health.test_signs import NOW, figures, process


def show(*processes: Process, **more: Any) -> None:
    """Have the gauges show a product with these processes, too."""
    gauges.show(figures(*processes, late=(0,) * (len(store.LATE_SECONDS) + 1), **more))


def value(name: str, **labels: str) -> float | None:
    """A gauge as it is scraped."""
    return REGISTRY.get_sample_value(f"billing_{name}", labels)


def test_the_processes_in_which_billing_is_switched_off_are_counted() -> None:
    off = Own(agreed=agreed(Settings(_env_file=None, billing_enabled=False)))
    for processes in ([process(3, figures=off), process(4, "api", figures=off)], []):
        show(*processes)
        assert value("switched_off") == len(processes)


def test_the_settings_in_which_processes_differ_are_counted() -> None:
    ours, theirs = (
        Own(agreed={"one": said, "another": said, "alike": "x"}) for said in ("here", "there")
    )
    show(process(3, figures=ours), process(4, figures=theirs))
    assert value("settings_differ") == 2
    show(process(3, figures=ours))
    assert value("settings_differ") == 0


def test_the_processes_that_do_nothing_because_of_their_clock_are_counted() -> None:
    own = Own(has_wrong_clock=True)
    show(process(3, figures=own), process(4, "api", figures=own), process(5, figures=own, seen=60))
    assert value("processes_with_wrong_clock", kind="worker") == 1
    assert value("processes_with_wrong_clock", kind="api") == 1
    show(process(3))
    assert value("processes_with_wrong_clock", kind="worker") == 0
    assert value("processes_with_wrong_clock", kind="api") == 0


def test_the_processes_whose_key_is_refused_are_counted_by_their_provider() -> None:
    both, one = (
        Own(refusals=dict.fromkeys(names, NOW)) for names in (("paypal", "stripe"), ("paypal",))
    )
    show(process(3, figures=both), process(4, figures=one))
    assert [value("provider_key_refused", provider=it) for it in ("stripe", "paypal")] == [1, 2]
    show(process(3))
    assert [value("provider_key_refused", provider=it) for it in ("stripe", "paypal")] == [0, None]


def test_what_is_wrong_with_the_books_is_counted_and_dated() -> None:
    ran_at = NOW - timedelta(minutes=20)
    for wrong in (("a sum (2)", "a number (1)"), ()):
        show(books=Run(ran_at=ran_at, checks=60, wrong=wrong))
        assert value("books_wrong") == len(wrong)
        assert value("books_audited_timestamp_seconds") == ran_at.timestamp()


def test_the_charges_of_the_last_hour_are_shown_until_they_are_older() -> None:
    labels = {"outcome": "declined", "decline_class": "hard"}
    for charges in ((Charges(count=3, **labels),), ()):
        show(charges=charges)
        assert value("charges_last_hour", **labels) == (3 if charges else None)

"""The figures of docs/sizing.md are those that were seen last; what can be counted is counted."""

import json
import re
from collections import Counter
from typing import Final

import pytest

from devstack.options import ROOT
from tests.replay.payloads import steps_at_once
from tests.unit.documents.test_figures_page import NUMBER, ROW

_PAGE: Final = (ROOT / "docs" / "sizing.md").read_text()
_FIGURES: Final = (ROOT / "docs" / "figures.md").read_text()
_ACTIONS: Final = (
    "WORKFLOW_EXECUTION_STARTED", "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
    "WORKFLOW_EXECUTION_SIGNALED", "ACTIVITY_TASK_SCHEDULED", "TIMER_STARTED",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
)  # fmt: skip


def test_a_figure_of_the_benchmarks_is_that_of_its_row_on_the_page_of_figures() -> None:
    rows = re.findall(r"^\| .+ \| (.+) \| `make bench BENCH=(\d)`(.*) \|$", _PAGE, re.MULTILINE)
    assert len(rows) > 6
    for here, group, named in rows:
        figures = re.findall(r"`(\w+)`", named)
        assert figures, f"{here}: the row names no figure"
        each = here.split(", ") if len(figures) > 1 else [here]
        for figure, seen in zip(figures, each, strict=True):
            told = seen_last(figure, group)
            assert set(NUMBER.findall(seen)) <= set(NUMBER.findall(told)), f"{figure}: {told}"


def seen_last(figure: str, group: str) -> str:
    """The page of figures on one figure; its row lists the values in the order of its names, or
    has one for all.
    """
    section = _FIGURES.partition(f"\n## {group}. ")[2].partition("\n## ")[0]
    row = next(row for row in ROW.findall(section) if f"`{figure}`" in row[0])
    names, values = re.findall(r"`(\w+)`", row[0]), row[1].split(", ")
    told: str = values[names.index(figure)] if len(values) == len(names) else row[1]
    return told


def test_what_an_open_subscription_takes_is_the_same_on_each_page() -> None:
    seen = re.search(r"^\| Temporal's database per open subscription \| ([\d.]+) KiB", _PAGE, re.M)
    assert seen
    kib = seen[1]
    scale = " ".join((ROOT / "docs" / "scale.md").read_text().split())
    assert f"{kib} KiB while it is open" in scale
    assert f"takes {kib} KiB of its database" in scale
    assert f"10 M take {round(float(kib) * 1024 / 100, -1):.0f} GB" in scale


@pytest.mark.parametrize(
    ("life", "history"),
    [
        ("a purchase, paid in the browser", "purchase-completed"),
        ("a purchase on a hosted page", "purchase-on-a-page"),
        ("a purchase by a saved card", "purchase-by-saved-card"),
        ("a subscription, from the request to active", "subscription-of-a-live-account"),
        ("a use paid by card", "charge-paid"),
    ],
)
def test_actions_are_those_of_a_recorded_life(life: str, history: str) -> None:
    path = ROOT / "tests" / "replay" / "histories" / f"{history}.json"
    events = json.loads(path.read_text())["events"]
    kinds = Counter(event["eventType"].removeprefix("EVENT_TYPE_") for event in events)
    seen = sum(kinds[one] for one in _ACTIONS) + len(steps_at_once(events))
    assert f"| {life} | {seen} |" in _PAGE


def test_the_month_of_one_worker_is_that_of_its_measured_renewals() -> None:
    seen = re.search(r"^\| 200 renewals .* \| ([\d.]+) s \|", _PAGE, re.MULTILINE)
    assert seen
    minutes = round(float(seen[1]) * 20_000 / 200 / 60)
    assert f"one worker {minutes} minutes" in " ".join(_PAGE.split())

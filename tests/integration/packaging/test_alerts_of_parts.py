"""A part that limits or refuses work is told of, and one that is only busy is not."""

from pathlib import Path

import pytest

from tests.integration.packaging.alert_firing import fired


@pytest.mark.parametrize(
    ("limits", "fires"),
    [("0x20 1x60", True), ("0x20 1x4 0x60", False), ("0 0 0 1 0 0 0 1 0 0 0 1x3 0x60", False)],
    ids=["for minutes", "for one", "now and then"],
)
def test_a_temporal_that_limits_our_calls_is_told_of_once_it_does_for_minutes(
    tmp_path: Path, *, limits: str, fires: bool
) -> None:
    told = {
        'billing_temporal_limits{instance="one"}': limits,
        'billing_temporal_limits{instance="another"}': "0x80",
    }
    fired(tmp_path, "BillingTemporalLimits", told, {"5m": False, "14m": fires})


@pytest.mark.parametrize("kind", ["api", "worker"])
def test_a_process_that_idles_because_of_its_clock_pages_at_once(tmp_path: Path, kind: str) -> None:
    told = {f'billing_processes_with_wrong_clock{{kind="{kind}"}}': "0x20 2x40"}
    fired(tmp_path, "BillingClockWrong", told, {"5m": False, "5m30s": True}, f"2 {kind}")

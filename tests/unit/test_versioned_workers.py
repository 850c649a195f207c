"""Workflows of versioned workers go on when the build that they began with is gone."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from billing.core.settings import Settings
from worker import run

SAY: str = """
from temporalio import workflow
from workflows.registry import WORKFLOWS
for one in WORKFLOWS:
    print(workflow._Definition.must_from_class(one).versioning_behavior.name)
"""


@pytest.mark.parametrize(
    ("build", "behaviour"), [("7", "AUTO_UPGRADE"), ("", "UNSPECIFIED")], ids=["versioned", "not"]
)
def test_none_is_pinned_to_the_build_it_began_with(build: str, behaviour: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", SAY],
        env=os.environ | {"BILLING_BUILD_ID": build},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(said.stdout.split()) == {behaviour}


async def test_a_build_id_that_only_the_settings_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BILLING_BUILD_ID", raising=False)
    (tmp_path / ".env").write_text("BILLING_BUILD_ID=7\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"BILLING_BUILD_ID is in \.env alone"):
        await run(Settings(), asyncio.Event())

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


@pytest.mark.parametrize(
    ("name", "value"), [("BILLING_BUILD_ID", "7"), ("BILLING_PROFILE", "test")]
)
async def test_what_modules_read_before_the_settings_is_refused_in_the_file_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(f"{name}={value}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=rf"{name} is in \.env alone"):
        await run(Settings(), asyncio.Event())

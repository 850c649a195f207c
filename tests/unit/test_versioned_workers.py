"""Workflows of versioned workers go on when the build that they began with is gone."""

import os
import subprocess
import sys

import pytest

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

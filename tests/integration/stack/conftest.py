"""Small stacks of a test's own, beside the run's: started from a folder, always stopped."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.launch import RunningStack, launch, stop
from devstack.options import ChildName, Options

Starter = Callable[..., RunningStack]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Start parts of a stack on a folder (default: one of this test's own)."""
    used: set[Path] = set()

    def begin(
        *parts: ChildName, data: Path = tmp_path / "data", owner: int | None = None
    ) -> RunningStack:
        used.add(data)
        options = Options(
            data=data,
            profile="test",
            free_ports=True,
            children=parts,
            ui=False,
            provision=False,
            owner=owner or os.getpid(),
        )
        return launch(options)

    yield begin
    for data in used:
        stop(data)

"""Servers of this folder's own: its tests change tables, and run programs of two releases."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.launch import launch, stop
from devstack.options import Options
from devstack.stack import StackInfo


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackInfo]:
    """Postgres, Temporal and the sandbox; no program of ours, and an empty database."""
    data: Path = tmp_path_factory.mktemp("upgrade") / "data"
    options = Options(
        data=data, profile="test", free_ports=True, children=("postgres", "temporal", "sandbox"),
        ui=False, provision=False, owner=os.getpid(),
    )  # fmt: skip
    try:
        yield launch(options).info
    finally:
        stop(data)

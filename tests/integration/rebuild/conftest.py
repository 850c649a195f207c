"""A whole stack of these tests' own: they delete Temporal's database and leave damage behind."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from billing.core import setting_names
from devstack.launch import launch, stop
from devstack.options import ROOT, Options
from devstack.stack import StackInfo
from tests.integration.actors import Actors, open_actors


@pytest.fixture(scope="package")
def own_stack() -> Iterator[StackInfo]:
    """Everything, on free ports, in the test profile."""
    folder = Path(tempfile.mkdtemp(prefix="billing-own-"))
    options = Options(
        data=folder / "data", profile="test", free_ports=True, ui=False, owner=os.getpid()
    )
    try:
        yield launch(options).info
    finally:
        stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
async def actors(own_stack: StackInfo) -> AsyncIterator[Actors]:
    """Everybody who can act on it."""
    async with open_actors(own_stack) as everybody:
        yield everybody


async def billing(actors: Actors, *words: str) -> tuple[int, str]:
    """The command line on this stack: exit code, and what it said."""
    names = setting_names.names()
    environment = {name: value for name, value in os.environ.items() if name not in names}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *words),
        cwd=ROOT,
        env={**environment, "STACK_DATA": str(actors.stack.data), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()

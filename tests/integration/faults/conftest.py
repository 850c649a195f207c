"""A stack of these tests' own, beside the run's: its parts are killed and held down."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from devstack.launch import launch
from devstack.options import Options
from tests.integration.actors import Actors, open_actors


@pytest.fixture(scope="package")
async def doomed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Actors]:
    """Everybody who can act on a stack that is killed all the time."""
    data = tmp_path_factory.mktemp("doomed") / "data"
    options = Options(data=data, profile="test", free_ports=True, ui=False, owner=os.getpid())
    running = await asyncio.to_thread(launch, options)
    async with open_actors(running.info) as actors:
        yield actors
    await asyncio.to_thread(running.stop)

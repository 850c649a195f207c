"""The people of every story, on the run's one stack."""

from collections.abc import AsyncIterator

import pytest

from devstack.stack import StackInfo

# Their assertions tell what they saw, as those of test modules do.
pytest.register_assert_rewrite(
    "tests.integration.actors",
    "tests.integration.waiting",
    "tests.integration.faults.flows",
    "tests.integration.faults.recovery_flows",
)
from tests.integration.actors import Actors, Customer, open_actors  # noqa: E402 (after that)


@pytest.fixture(scope="session")
async def actors(stack: StackInfo) -> AsyncIterator[Actors]:
    """Everybody who can act on the run's stack."""
    async with open_actors(stack) as everybody:
        yield everybody


@pytest.fixture
async def customer(actors: Actors) -> Customer:
    """A fresh account in real time."""
    return await actors.customer()

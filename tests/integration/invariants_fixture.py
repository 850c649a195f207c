"""At the end of every module the books of its accounts agree: the product's own checks, all of
them. What it published is of a type that docs/events.md names, with its fields.

`broken_books.py` names the tests that break books on purpose.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.insight.integrity import service as integrity
from billing.insight.integrity import store
from devstack.stack import StackInfo
from tests.integration.broken_books import is_broken, is_excused
from tests.integration.credits.accounts import open_pools
from tests.integration.postings_oracle import demand_agreement
from tests.misfits import misfits

BEGUN: Final = pytest.StashKey[list[tuple[UUID, str]]]()
"""The tests of a module, each with an id made as it began: accounts made later have higher ids."""
# Of all other accounts the sums of postings are zero.
WITH_MONEY: Final = text("""
    SELECT id FROM accounts a WHERE id = ANY(:accounts)
    AND (EXISTS (SELECT FROM invoices i WHERE i.account_id = a.id)
         OR EXISTS (SELECT FROM balance_entries b WHERE b.account_id = a.id))
""")
MADE: Final = text("SELECT id FROM accounts WHERE id > :before ORDER BY id")
EVENTS: Final = text("SELECT type, data FROM events WHERE account_id = ANY(:accounts)")


@pytest.fixture(scope="module", autouse=True)
def books_are_asked(request: pytest.FixtureRequest) -> None:
    """Ask at the end of each module with a test on the run's stack; others start none."""
    request.node.stash[BEGUN] = [(ids.new(), request.node.nodeid)]
    within = f"{request.node.nodeid}::"
    if any(
        item.nodeid.startswith(within) and "stack" in getattr(item, "fixturenames", ())
        for item in request.session.items
    ):
        request.getfixturevalue("books_agree")


@pytest.fixture(autouse=True)
def test_begins(request: pytest.FixtureRequest) -> None:
    """Note from which id on accounts are of this test."""
    request.node.getparent(pytest.Module).stash[BEGUN].append((ids.new(), request.node.nodeid))


@pytest.fixture(scope="module")
async def books_agree(request: pytest.FixtureRequest, stack: StackInfo) -> AsyncIterator[None]:
    """At its end the books agree of all accounts that were made since the module began."""
    yield
    begun = request.node.stash[BEGUN]
    # Not the fixture `database`: a module may have another of this name, or stop the server.
    database = open_pools(stack, 1)
    try:
        async with database.operator() as connection:
            made = (await connection.scalars(MADE, {"before": begun[0][0]})).all()
        tests = {account: test_of(account, begun) for account in made}
        asked = {account: test for account, test in tests.items() if not is_broken(test)}
        await demand_books(database, asked)
    finally:
        await database.close()


def test_of(account: UUID, begun: Sequence[tuple[UUID, str]]) -> str:
    """The test that made an account, or the module if a fixture did before its first test."""
    return begun[bisect_right(begun, account, key=lambda one: one[0]) - 1][1]


async def demand_books(database: Database, tests: Mapping[UUID, str]) -> None:
    """Fail unless the books of these accounts agree; says which test made those that do not."""
    async with database.operator() as connection:
        await store.freeze(connection)
        found = await integrity.faults_of(connection, list(tests), real_now())
        with_money = await connection.scalars(WITH_MONEY, {"accounts": list(tests)})
        faults = await misfitting(connection, tests)
    faults += [
        f"{tests[one.account_id]}: {one.name} {one.examples}"
        for one in found
        if one.account_id and not is_excused(one.account_id, one.name)
    ]
    assert not faults, "\n".join(sorted(faults))
    for account in with_money:
        await demand_agreement(database, account)


async def misfitting(connection: AsyncConnection, accounts: Collection[UUID]) -> list[str]:
    """Faults of the events of these accounts, by `kinds.py`."""
    told = await connection.execute(EVENTS, {"accounts": list(accounts)})
    return sorted({fault for kind, data in told for fault in misfits(kind, data)})

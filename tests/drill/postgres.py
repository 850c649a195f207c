"""Incidents of Postgres while it answers: who is refused by it, and why."""

import asyncio
from typing import Final

import psycopg

from billing.core.settings import Settings
from cli import locks
from devstack.options import ROOT
from devstack.stack import dsn
from tests.drill.customers import command
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.api_app import stack_settings

BUYERS: Final = 4


async def refused(actors: Actors, status: int) -> list[Customer]:
    """Customers whose purchases are refused, one after the other."""
    found = [await actors.customer() for _ in range(BUYERS)]
    for customer in found:
        await customer.ask("POST", "/billing/purchases", {"pack": "small"}, key="1", status=status)
    return found


class Locked:
    """Somebody locks the table of invoices and goes away."""

    def __init__(self) -> None:
        self.holder: psycopg.AsyncConnection | None = None
        self.customers: list[Customer] = []

    async def plant(self, actors: Actors) -> None:
        """In a session of the owner."""
        self.holder = await psycopg.AsyncConnection.connect(dsn(actors.stack.owner_url))
        await self.holder.execute("LOCK TABLE invoices IN ACCESS EXCLUSIVE MODE")
        self.customers = await refused(actors, 503)

    async def mend(self, actors: Actors) -> None:
        """`billing locks list`, and `end` with the PID that it tells."""
        assert self.holder is not None
        pid = self.holder.info.backend_pid
        said = await locks.listing(_settings(actors))
        assert any(f"PID {pid} of billing_owner" in line for line in said), said
        await command(actors, "locks", "end", str(pid), "--reason", "it was forgotten")
        await self.holder.close()
        await asyncio.gather(*(customer.bought("small") for customer in self.customers))


def _settings(actors: Actors) -> Settings:
    return stack_settings(actors.stack)


async def take_right(actors: Actors) -> None:
    """Somebody revokes a right by hand."""
    await actors.sql("REVOKE INSERT ON invoices FROM billing_app")
    await refused(actors, 500)


async def give_right(actors: Actors) -> None:
    """`billing migrate` gives it again."""
    said = await command(actors, "migrate")
    assert "billing_app lacks INSERT on invoices: given again" in said, said


async def take_down(actors: Actors) -> None:
    """Somebody drops the constraint by which no fact has a second invoice."""
    await actors.sql("ALTER TABLE invoices DROP CONSTRAINT uq_invoices_fact_key")


async def put_up(actors: Actors) -> None:
    """`billing migrate` puts it up again."""
    said = await command(actors, "migrate")
    assert "invoices lacks uq_invoices_fact_key: put up again" in said, said


async def limit(actors: Actors) -> None:
    """Somebody limits the connections of the role that serves customers."""
    await actors.sql("ALTER ROLE billing_app CONNECTION LIMIT 2")
    customer = await actors.customer()

    async def is_refused() -> bool:
        asked = (customer.call("GET", "/billing/invoices") for _ in range(32))
        answers = await asyncio.gather(*asked)
        return any(answer.json().get("code") == "DATABASE_UNAVAILABLE" for answer in answers)

    await wait_for(is_refused, "the role's connections are used up")


async def unlimit(actors: Actors) -> None:
    """Take the limit away."""
    await actors.sql("ALTER ROLE billing_app CONNECTION LIMIT -1")


async def only_read(actors: Actors) -> None:
    """Postgres is set to read, everywhere that it can be said."""
    customer = await actors.customer()
    for whom in ("ROLE billing_app", "ROLE billing_operator", "DATABASE billing", "SYSTEM"):
        await actors.sql(f"ALTER {whom} SET default_transaction_read_only = on")
    await actors.sql("SELECT pg_reload_conf()")
    await actors.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename IN ('billing_app', 'billing_operator')"
    )
    await customer.ask("POST", "/billing/purchases", {"pack": "small"}, key="1", status=503)


async def write_again(actors: Actors) -> None:
    """The statements of the runbook, as they stand there."""
    page = (ROOT / "docs" / "runbook.md").read_text().partition("## Database")[2]
    statements = page.partition("```sql")[2].partition("```")[0].split(";")
    url = dsn(actors.stack.superuser_url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in filter(None, map(str.strip, statements)):
            await connection.execute(statement.encode())


LOCKED: Final = Locked()

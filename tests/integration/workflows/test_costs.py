"""Statements, commits, workflow tasks and events of a purchase, a refund and a renewal, counted.

On a stack of its own in the delivered profile: that of tests reads its rows again.
"""

import asyncio
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import pytest

from billing.core import ids
from devstack.launch import launch, stop
from devstack.options import Options
from tests.integration.actors import Actors, Customer, open_actors, wait_for

ROUNDS: Final = 12
# Of the product's roles, each once, however many lines it has.
STATEMENT: Final = re.compile(r"^\S+ \S+ \S+ \[\d+\] billing_\w+ LOG:  (?:statement|execute .*?): ")
DUE: Final = """
    UPDATE subscriptions SET period_number = -1,
        current_period_start = clock_timestamp() - interval '1 month',
        current_period_end = clock_timestamp() + interval '1.5 s',
        cycle_end = clock_timestamp() + interval '1.5 s',
        anchor_wall = (clock_timestamp() + interval '1.5 s') AT TIME ZONE 'UTC'
    WHERE account_id = %(me)s
"""
PAID: Final = "SELECT id FROM invoices WHERE account_id = %(me)s AND status = 'paid'"
ASKED: Final = {"reason": "asked for it"}
NEWEST: Final = "SELECT id FROM payments WHERE account_id = %(me)s ORDER BY id DESC LIMIT 1"
MATTER: Final = (
    "SELECT workflow_id FROM matters WHERE account_id = %(me)s AND kind = 'subscription'"
)
PLANNED: Final = f"{MATTER} AND next_due < now() + interval '1.5 s'"


class Cost(NamedTuple):
    """The figures of one life, or of one part of it."""

    statements: int
    commits: int
    workflow_tasks: int
    events: int


# They may become fewer: then lower them here. More of them is slower for everybody.
PURCHASE: Final = Cost(statements=45, commits=4, workflow_tasks=2, events=16)
REFUND: Final = Cost(statements=93, commits=11, workflow_tasks=1, events=9)
RENEWAL: Final = Cost(statements=39, commits=2, workflow_tasks=1, events=6)


@dataclass
class Shop:
    """A customer on this stack, and the log of its database."""

    actors: Actors
    customer: Customer
    begun_at: int = 0
    """The place in the log from which a life is counted."""
    events_before: int = 0

    @property
    def log(self) -> Path:
        """Every statement that Postgres was asked."""
        return self.actors.stack.logs / "postgres.log"

    async def cost(self, life: Callable[[], Awaitable[str]], most: Cost) -> Cost:
        """The least of as many rounds as `most` needs: beats and sweeps come in between."""
        least = await self._once(life)
        for _ in range(ROUNDS):
            if not grown(least, most):
                break
            least = Cost(*map(min, least, await self._once(life)))
        return least

    async def _once(self, life: Callable[[], Awaitable[str]]) -> Cost:
        self.begun_at, self.events_before = self.log.stat().st_size, 0
        workflow_id = await life()
        with self.log.open() as file:
            file.seek(self.begun_at)
            said = [line for line in file if STATEMENT.match(line)]
        events = (await self.events(workflow_id))[self.events_before :]
        commits = sum("COMMIT" in line for line in said)
        tasks = Counter(events)["EVENT_TYPE_WORKFLOW_TASK_COMPLETED"]
        return Cost(len(said), commits, tasks, len(events))

    async def events(self, workflow_id: str) -> list[str]:
        """The types of the history's events."""
        history = await self.actors.temporal.get_workflow_handle(workflow_id).fetch_history()
        return [event["eventType"] for event in json.loads(history.to_json())["events"]]

    async def buy(self) -> str:
        """A purchase until its credits are there."""
        begun = await self.customer.buy("small")
        await self.customer.pay(begun)
        workflow = self.actors.temporal.get_workflow_handle(f"purchase/{begun['purchase_id']}")
        await workflow.result()
        return workflow.id

    async def refund(self) -> str:
        """A refund of a pack until its note is written and its credits are gone."""
        await self.buy()
        (row,) = await self.customer.rows(NEWEST)
        name = f"reversal/{ids.encode(ids.PAYMENT, row['id'])}"
        self.begun_at = self.log.stat().st_size
        path = f"/admin/payments/{ids.encode(ids.PAYMENT, row['id'])}/refund"
        await self.actors.operate("POST", path, ASKED, status=200, key=str(uuid4()))
        await self.actors.temporal.get_workflow_handle(name).result()
        return name

    async def renew(self) -> str:
        """A renewal from its timer until it is paid, without what made it due."""
        paid = len(await self.customer.rows(PAID))
        await self.customer.rows(DUE)
        (row,) = await self.customer.rows(MATTER)
        name = str(row["workflow_id"])
        await self.actors.temporal.get_workflow_handle(name).signal("changed")
        await wait_for(lambda: self.customer.rows(PLANNED), "the renewal is planned")
        await asyncio.sleep(0.3)
        self.begun_at = self.log.stat().st_size
        self.events_before = len(await self.events(name))
        await asyncio.sleep(1.2)  # only the product is to be counted

        async def renewed() -> bool:
            return len(await self.customer.rows(PAID)) > paid

        await wait_for(renewed, "the renewal is paid")
        await asyncio.sleep(0.3)  # its workflow waits again
        return name


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[Shop]:
    folder = Path(tempfile.mkdtemp(prefix="billing-costs-"))
    options = Options(data=folder / "data", free_ports=True, ui=False, owner=os.getpid())
    try:
        info = (await asyncio.to_thread(launch, options)).info
        async with open_actors(info) as actors:
            await actors.sql("ALTER SYSTEM SET log_statement = 'all'")
            await actors.sql("SELECT pg_reload_conf()")
            customer = await actors.customer()
            await customer.subscribed("pro")
            yield Shop(actors, customer)
    finally:
        await asyncio.to_thread(stop, folder / "data")
        shutil.rmtree(folder, ignore_errors=True)


def grown(now: Cost, most: Cost) -> list[str]:
    """The figures that are more than they may be."""
    return [
        f"{seen} {name.replace('_', ' ')} instead of {most[place]}"
        for place, (name, seen) in enumerate(now._asdict().items())
        if seen > most[place]
    ]


def more(what: str, now: Cost, most: Cost) -> str:
    """The figures that have grown, in one line."""
    figures = grown(now, most)
    return f"{what} takes more: {', '.join(figures)}" if figures else ""


async def test_a_purchase_takes_no_more_than_it_did(shop: Shop) -> None:
    await shop.buy()  # its customer is made at Stripe, its statements are known
    assert not (said := more("a purchase", await shop.cost(shop.buy, PURCHASE), PURCHASE)), said


async def test_a_refund_takes_no_more_than_it_did(shop: Shop) -> None:
    assert not (said := more("a refund", await shop.cost(shop.refund, REFUND), REFUND)), said


async def test_a_renewal_takes_no_more_than_it_did(shop: Shop) -> None:
    assert not (said := more("a renewal", await shop.cost(shop.renew, RENEWAL), RENEWAL)), said


def test_what_has_grown_is_one_line() -> None:
    assert more("a life", Cost(5, 1, 2, 12), Cost(4, 1, 2, 11)) == (
        "a life takes more: 5 statements instead of 4, 12 events instead of 11"
    )

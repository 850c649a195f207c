"""Random lives of subscriptions end in the same rows in memory and in Postgres.

The script of a life that was lived in memory (steps, the bank's answers, commands, what people did)
is carried out once more by the executor on real rows, beside the stack: nothing else works there.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.tables import plans, prices
from billing.core.database import Database, open_database
from billing.core.errors import Conflict
from billing.core.settings import Settings
from billing.ledger.credits import store as credits
from billing.matters import store as matters
from billing.matters.agenda import Step, head
from billing.matters.deciding import Course
from billing.matters.effects import Add, Effect, InboxEvent, Rows, Work
from billing.matters.kinds import SUBSCRIPTION
from billing.money.payments.calls import Answer, Call
from billing.money.payments.schemas import Attempt
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.reading import ENGINE
from billing.platform.accounts.tables import accounts
from billing.platform.decisions import service as decisions
from billing.platform.decisions import writer
from billing.platform.decisions.service import Done, Engine, Read
from billing.platform.provider_inbox.tables import stripe_webhook_events
from devstack.stack import StackInfo
from migrations.draft import load_tables
from tests.integration.scratch import scratch_database
from tests.unit.lives.collections import BIRTH, declines
from tests.unit.lives.subscriptions import PRICE, SubscriptionLife

LIVES: Final = 10
STEPS: Final = 60
NUMBERED: Final = {"series", "number", "issued_on"}
"""Given by Postgres alone."""
Verb = Callable[[Work[SubscriptionFacts]], Any]


@dataclass
class Numbers:
    """Ids are counted, so that both lives make the same."""

    last: int

    def __iter__(self) -> "Numbers":
        return self

    def __next__(self) -> int:
        self.last += 1
        return self.last


@dataclass
class Act:
    """One thing that happened, when, and the last id before it."""

    now: datetime
    last_id: int
    step: Step | None = None
    answers: tuple[tuple[Answer, int], ...] = ()
    """Of the bank, each with the last id after it: a card that it tells of takes one."""
    verb: Verb | None = None
    effects: tuple[Effect, ...] = ()
    event: InboxEvent | None = None


class Recorded(SubscriptionLife):
    """A life in memory that keeps the script of what happens."""

    def __init__(self, seed: int) -> None:
        self.script: list[Act] = []
        self.answers: list[tuple[Answer, int]] = []
        self.loose: list[Work[Any]] = []
        super().__init__(Random(seed), first=seed * 100_000)

    def counted(self, first: int) -> Numbers:
        self.numbers = Numbers(first)
        return self.numbers

    def facts(self, rows: Rows, answer: Answer | None = None) -> SubscriptionFacts:
        recent = self.now - timedelta(days=30)
        tries = Rows(one for one in rows.of(Attempt) if one.started_at >= recent)
        return replace(super().facts(rows, answer), is_test=True, declines=declines(tries))

    def do(self, step: Step) -> Course[Any]:
        self.answers = []
        act = Act(max(self.now, step.due), self.numbers.last, step=step)
        course = super().do(step)
        self.script.append(replace(act, answers=tuple(self.answers)))
        return course

    def answer(self, call: Call) -> Answer:
        answer = super().answer(call)
        self.answers.append((answer, self.numbers.last))
        return answer

    def ask_of_it(self, verb: Verb, expected: Sequence[str] | None = None) -> None:
        self._keep_loose()
        self.script.append(Act(self.now, self.numbers.last, verb=verb))
        super().ask_of_it(verb, expected)

    def work(self) -> Work[Any]:
        self.loose.append(super().work())
        return self.loose[-1]

    def meddle(self) -> None:
        waiting = len(self.rows.waiting_events)
        super().meddle()
        self._keep_loose()
        for event in self.rows.waiting_events[waiting:]:
            self.script.append(Act(self.now, self.numbers.last, event=event))

    def _keep_loose(self) -> None:
        effects = [effect for work in self.loose for effect in work.effects]
        self.loose = []
        if effects:
            self.script.append(Act(self.now, self.numbers.last, effects=tuple(effects)))

    def change_plan(self) -> None:
        """Plans on sale are Postgres' own; tests/integration/changes holds them."""

    def use(self) -> None:
        """Counters are Postgres' own; tests/integration/arrears holds them."""


class Stored:
    """The same life on rows of Postgres."""

    def __init__(self, database: Database, life: Recorded) -> None:
        self.database, self.life = database, life
        self.numbers = Numbers(0)
        self.begun: Done[Any] | None = None
        """A step that is done, with the call of the one that has begun with it."""
        self.engine: Engine[Any, Any] = replace(ENGINE, read=self.read)
        self._read = ENGINE.read
        self.subject, self.account = life.subscription_id, life.account_id

    async def read(self, connection: AsyncConnection, wanted: Read) -> tuple[Rows, Any]:
        rows, facts = await self._read(connection, wanted)
        # Where the customer lives is told apart from the rows; tests/integration/taxes holds it.
        facts = replace(facts, taxation=self.life.taxation, credits_at_start=self.life.at_start)
        return rows, replace(facts, new_id=self.new_id, real_at=facts.at)

    def new_id(self) -> UUID:
        return UUID(int=next(self.numbers))

    async def begin(self) -> None:
        plan = self.life.plan.model_dump(mode="json", exclude={"allowance", "id", "created_at"})
        price_id = self.life.subscription.price_id
        async with self.database.operator() as connection:
            await connection.execute(
                insert(plans).values(
                    **plan | {"key": f"pro-{self.life.plan.id}", "is_current": False},
                    id=self.life.plan.id,
                    created_at=BIRTH,
                )
            )
            await connection.execute(
                insert(prices).values(
                    id=price_id,
                    kind="plan",
                    key=f"pro-{price_id}",
                    currency="EUR",
                    interval_unit="month",
                    interval_count=1,
                    amount_minor=PRICE,
                    version=1,
                    is_current=False,
                    created_at=BIRTH,
                )
            )
            await connection.execute(
                insert(accounts).values(
                    id=self.account,
                    external_id=str(self.account),
                    kind="organization",
                    zone="UTC",
                    is_test=True,
                    clock_at=BIRTH,
                    clock_status="ready",
                    created_at=BIRTH,
                )
            )
            await credits.open_balance(connection, self.account)
            first = (self.life.born, self.life.plan_item)
            await writer.write(connection, [Add(one) for one in first], BIRTH, {})

    async def happen(self, act: Act, following: Act | None) -> None:
        """`following` may begin in the same transaction, where nothing else comes between."""
        self.numbers.last = act.last_id
        async with self.database.operator() as connection:
            await connection.execute(
                text("UPDATE accounts SET clock_at = :now WHERE id = :id"),
                {"now": act.now, "id": self.account},
            )
        if act.step is not None:
            at_once = following is not None and following.now == act.now and following.step
            await self.do(act.step, list(act.answers), at_once or None)
            return
        async with self.database.tenant(self.account) as connection:
            if act.verb is not None:
                await self.ask_of_it(connection, act.verb)
            elif act.event is not None:
                await self.tell(connection, act.event)
            else:
                await writer.write(connection, act.effects, act.now, self.engine.verbs)

    async def do(
        self, step: Step, answers: list[tuple[Answer, int]], following: Step | None
    ) -> None:
        answer, begun, self.begun = None, self.begun, None
        if begun is not None:
            assert begun.successor is not None
            assert begun.successor.key == step.key
            said, self.numbers.last = answers.pop(0)
            answer = replace(said, call=begun.call)
        while True:
            async with self.database.tenant(self.account) as connection:
                if answer is None:
                    rows, facts = await self.engine.read(
                        connection, Read(self.subject, locked=False)
                    )
                    assert head(self.engine.rules.plan(rows, facts), facts.at) == step
                matter = await matters.find(connection, SUBSCRIPTION.workflow_id(self.subject))
                assert matter is not None
                done = await decisions.decide(
                    connection,
                    self.engine,
                    matter,
                    step,
                    answer,
                    may_call=lambda _: following is not None,
                )
            if done.successor is not None:
                self.begun = done
                return
            if done.call is None:
                assert answers == [], "the bank was asked less"
                return
            said, self.numbers.last = answers.pop(0)
            answer = replace(said, call=done.call)

    async def ask_of_it(self, connection: AsyncConnection, verb: Verb) -> None:
        try:
            await decisions.command(connection, self.engine, self.subject, verb)
        except Conflict:
            return

    async def tell(self, connection: AsyncConnection, event: InboxEvent) -> None:
        await connection.execute(
            insert(stripe_webhook_events).values(
                stripe_event_id=event.id,
                account_id=self.account,
                payload={},
                workflow_id=SUBSCRIPTION.workflow_id(self.subject),
                object_id=event.object_id,
                type="payment_intent.succeeded",
                received_at=event.received_at,
            )
        )

    async def rows(self, known: frozenset[UUID]) -> Rows:
        async with self.database.tenant(self.account) as connection:
            read = Read(self.subject, deciding=True, locked=False, known=known)
            rows, _ = await self.engine.read(connection, read)
        return rows


def differences(stored: Rows, lived: Rows) -> list[str]:
    """One line per field that is not the same, but for what Postgres gives."""
    here, there = plain(stored), plain(lived)
    found = [f"{one} is in one of them" for one in here.keys() ^ there.keys()]
    for name in here.keys() & there.keys():
        row, other = here[name], there[name]
        found += [
            f"{name}.{field}: {row[field]!r} is stored, {other[field]!r} was lived"
            for field in row
            if row[field] != other[field]
        ]
    return found


def plain(rows: Rows) -> dict[str, dict[str, Any]]:
    """Every row by table and id."""
    return {
        f"{table} {row.id}": row.model_dump(exclude=NUMBERED)
        for table, found in rows.by_type().items()
        for row in found.values()
    }


@pytest.fixture(scope="module")
async def database(stack: StackInfo) -> AsyncIterator[Database]:
    load_tables()
    with scratch_database(stack) as env:
        urls = {"database_url": env["DATABASE_URL"]}
        urls["database_operator_url"] = env["DATABASE_OPERATOR_URL"]
        async with open_database(Settings.model_validate(urls)) as opened:
            yield opened


@pytest.mark.parametrize("seed", range(1, LIVES + 1))
async def test_both_lives_end_in_the_same_rows(database: Database, seed: int) -> None:
    life = Recorded(seed)
    for _ in range(STEPS):
        step = life.next_step()
        if step is None:
            break
        if life.dice.random() < 0.3:
            life.meddle()
        else:
            life.do(step)
    stored = Stored(database, life)
    await stored.begin()
    for act, following in zip_longest(life.script, life.script[1:]):
        await stored.happen(act, following)
    assert differences(await stored.rows(life.rows.ids()), life.rows) == []


async def test_a_step_whose_key_is_taken_changes_nothing(database: Database) -> None:
    life = Recorded(LIVES + 1)
    while not (life.script and life.script[-1].step and not life.script[-1].answers):
        step = life.next_step()
        assert step is not None
        life.do(step)
    stored = Stored(database, life)
    await stored.begin()
    *before, last = life.script
    for act in before:
        await stored.happen(act, None)
    rows = await stored.rows(life.rows.ids())
    assert last.step is not None
    async with database.tenant(life.account_id) as connection:
        matter = await matters.find(connection, SUBSCRIPTION.workflow_id(stored.subject))
        assert matter is not None
        await matters.send_finish(
            connection, matter, last.step, result="done", head=None, words="", at=last.now
        )
    with pytest.raises(Conflict) as refused:
        await stored.happen(last, None)
    assert refused.value.code == "STEP_DONE"
    assert await stored.rows(life.rows.ids()) == rows

"""No interleaving of verbs loses a credit or makes a balance negative: model against Postgres."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from billing.core import ids
from billing.core.errors import BillingError
from billing.ledger.credits import service, store
from billing.ledger.credits.rules import USABLE_AGAIN, caller_key
from billing.ledger.credits.tables import credit_lots
from devstack.stack import StackInfo
from tests.integration.credits import holding
from tests.integration.credits.books import balance_at, read_books
from tests.integration.credits.ledger_model import Ledger, Lot, Refused
from tests.searching import examples

T = TypeVar("T")

START = datetime(2027, 1, 31, 12, tzinfo=UTC)
# More arrives than is used at a time, so that most verbs find something to do.
GRANTS = st.sampled_from(["0.5", "2.25", "7", "10", "40"]).map(Decimal)
AMOUNTS = st.sampled_from(["0.000001", "0.5", "1", "2.25", "3", "7", "12"]).map(Decimal)
SCOPES = st.sampled_from([None, None, "images", "voice"])
# As the void of a use does it, in whose transaction it is.
GIVE_BACK = text(
    """
    WITH opened AS MATERIALIZED (SELECT credit_open(:account, :at) AS at)
    SELECT credit_give_back(
        :account, t.id, '{}', :amount, :key, NULL, o.at)
    FROM opened AS o, credit_transactions AS t
    WHERE t.account_id = :account AND t.key = :debit
    """
)
SPANS = st.sampled_from([1, 2, 5, 30]).map(lambda hours: timedelta(hours=hours))


class LedgerMachine(RuleBasedStateMachine):
    """One account in one transaction that is rolled back; every verb is run on both sides."""

    # One connection for all examples: a new one would plan every statement again.
    loop: asyncio.AbstractEventLoop
    connection: AsyncConnection

    def __init__(self) -> None:
        super().__init__()
        self.account_id = ids.new()
        self.run(self._open())
        self.model = Ledger()
        self.now = START
        self.hold_ids: dict[str, Any] = {}
        self.count = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _open(self) -> None:
        await self.connection.execute(
            text("SELECT set_config('app.accounts', :id, true)"), {"id": str(self.account_id)}
        )
        await self.connection.execute(
            text(
                "INSERT INTO accounts (id, external_id, is_test, clock_at, created_at)"
                " VALUES (:id, :external_id, true, :at, :at)"
            ),
            {"id": self.account_id, "external_id": f"model-{uuid4()}", "at": START},
        )
        await store.open_balance(self.connection, self.account_id)

    def key(self) -> str:
        self.count += 1
        return f"{self.account_id}/{self.count}"

    def same(self, expected: Any, verb: Coroutine[Any, Any, Any]) -> Any:
        """Run the verb; a refusal of the model must be the refusal of the verb."""
        answer, refusal = self.attempt(verb)
        if not isinstance(expected, Refused):
            assert refusal is None, f"the model allows it: {refusal}"
            return answer
        assert refusal is not None, f"the model refuses it: {expected}"
        assert refusal.code == expected.args[0]
        if refusal.code == "INSUFFICIENT_CREDITS":
            assert Decimal(refusal.fields["available"]) == expected.args[1]
        return None

    def attempt(self, verb: Coroutine[Any, Any, T]) -> tuple[T | None, BillingError | None]:
        try:
            return self.run(verb), None
        except BillingError as error:
            return None, error

    def try_model(self, verb: Any, *arguments: Any) -> Any:
        before = deepcopy(self.model)
        try:
            return verb(*arguments)
        except Refused as refused:
            self.model = before
            self.model.expire_due(self.now)
            return refused

    @rule(hours=st.sampled_from([0, 1, 1, 3, 24, 31 * 24]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @initialize(span=SPANS)
    def some_credits_are_there(self, span: timedelta) -> None:
        self.credits_arrive(Decimal(5), None, True, 100, None)
        self.credits_arrive(Decimal(20), None, False, 100, span)

    @rule(
        amount=GRANTS,
        scope=SCOPES,
        is_paid=st.booleans(),
        priority=st.sampled_from([10, 100, 100]),
        span=st.none() | SPANS,
    )
    def credits_arrive(
        self,
        amount: Decimal,
        scope: str | None,
        is_paid: bool,
        priority: int,
        span: timedelta | None,
    ) -> None:
        key, expires_at = self.key(), self.now + span if span else None
        lot = Lot(key, amount, scope, priority, is_paid, expires_at, self.count)
        self.model.grant(lot, self.now)
        for replayed in (False, True):
            answer = self.run(
                service.grant(
                    self.connection, account_id=self.account_id, amount=amount, kind="adjustment",
                    key=key, is_paid=is_paid, reason="model", at=self.now, expires_at=expires_at,
                    scope=scope, priority=priority,
                )
            )  # fmt: skip
            assert (answer.amount, answer.replayed) == (amount, replayed)

    @rule(
        amount=AMOUNTS,
        scope=SCOPES,
        paid_only=st.sampled_from([False, False, True]),
        force=st.sampled_from([False, False, True]),
    )
    def credits_are_spent(
        self, amount: Decimal, scope: str | None, paid_only: bool, force: bool
    ) -> None:
        key = self.key()
        expected = self.try_model(self.model.debit, key, amount, scope, paid_only, force, self.now)
        for replayed in (False, True):
            answer = self.same(
                expected,
                service.debit(
                    self.connection, account_id=self.account_id, amount=amount, key=key,
                    reason="model", at=self.now, scope=scope, paid_only=paid_only, force=force,
                ),
            )  # fmt: skip
            assert answer is None or answer.replayed is replayed

    @rule(amount=AMOUNTS, scope=SCOPES, paid_only=st.sampled_from([False, False, True]), span=SPANS)
    def credits_are_held(
        self, amount: Decimal, scope: str | None, paid_only: bool, span: timedelta
    ) -> None:
        key, expires_at = self.key(), self.now + span
        expected = self.try_model(
            self.model.hold, key, amount, scope, paid_only, expires_at, self.now
        )
        answer = self.same(
            expected,
            holding.hold(
                self.connection, account_id=self.account_id, amount=amount, key=key,
                reason="model", expires_at=expires_at, at=self.now, scope=scope,
                paid_only=paid_only,
            ),
        )  # fmt: skip
        if answer:
            self.hold_ids[key] = answer.hold_id

    @precondition(lambda self: self.model.holds)
    @rule(choice=st.randoms(use_true_random=False), share=st.sampled_from([1, 2, 3, None]))
    def a_hold_is_captured(self, choice: Any, share: int | None) -> None:
        key = choice.choice(sorted(self.model.holds))
        whole = self.model.holds[key].amount
        amount = max(round(whole / (share or 1), 6), Decimal("0.000001"))
        amount += 1 if share is None else 0
        expected = self.try_model(self.model.capture, key, amount, self.now)
        self.same(
            expected,
            holding.capture(
                self.connection, account_id=self.account_id, hold_id=self.hold_ids[key],
                amount=amount, at=self.now,
            ),
        )  # fmt: skip

    @precondition(lambda self: self.model.holds)
    @rule(choice=st.randoms(use_true_random=False))
    def a_hold_is_released(self, choice: Any) -> None:
        key = choice.choice(sorted(self.model.holds))
        expected = self.try_model(self.model.release, key, self.now)
        self.same(
            expected,
            service.release(
                self.connection, account_id=self.account_id, hold_id=self.hold_ids[key],
                at=self.now,
            ),
        )  # fmt: skip

    @precondition(lambda self: self.model.lots)
    @rule(choice=st.randoms(use_true_random=False), amount=AMOUNTS)
    def credits_are_taken_back(self, choice: Any, amount: Decimal) -> None:
        grant_key, key = choice.choice(sorted(self.model.lots)), self.key()
        expected = self.model.clawback(grant_key, key, amount, self.now)
        for _ in range(2):
            answer = self.run(
                service.clawback(
                    self.connection, account_id=self.account_id, grant_key=grant_key,
                    amount=amount, key=key, reason="model", at=self.now,
                )
            )  # fmt: skip
            assert (answer.taken, answer.pending, answer.loss) == expected

    @precondition(lambda self: self.model.clawbacks)
    @rule(choice=st.randoms(use_true_random=False))
    def a_dispute_is_won(self, choice: Any) -> None:
        clawback = choice.choice(sorted(self.model.clawbacks))
        grant_key, key = self.model.clawbacks[clawback][0].key, self.key()
        expected = self.model.win(clawback, self.now + USABLE_AGAIN, self.now)
        for _ in range(2 if expected else 1):
            answer = self.run(
                service.return_clawback(
                    self.connection, account_id=self.account_id, grant_key=grant_key,
                    clawback_key=clawback, key=key, at=self.now,
                )
            )  # fmt: skip
            assert answer.returned == expected

    @precondition(lambda self: self.model.debits)
    @rule(choice=st.randoms(use_true_random=False))
    def a_debit_is_given_back(self, choice: Any) -> None:
        debit, key = choice.choice(sorted(self.model.debits)), self.key()
        facts: dict[str, Any] = {"account": self.account_id, "key": key, "at": self.now}
        facts["debit"] = caller_key(self.account_id, debit)
        facts["amount"] = self.model.debits[debit].amount
        self.model.void(debit, Lot(key, Decimal(0), None, 100, False, None, self.count), self.now)
        assert self.run(self.connection.execute(GIVE_BACK, facts)).one()

    @precondition(lambda self: self.model.lots)
    @rule(choice=st.randoms(use_true_random=False))
    def a_lot_is_ended(self, choice: Any) -> None:
        grant_key = choice.choice(sorted(self.model.lots))
        expected = self.model.expire_lot(grant_key, self.now)
        answer = self.run(
            service.expire_lot(
                self.connection, account_id=self.account_id, grant_key=grant_key, at=self.now,
                reason="model",
            )
        )  # fmt: skip
        assert (answer.expired, answer.held) == expected

    @rule()
    def the_clock_is_looked_at(self) -> None:
        self.model.expire_due(self.now)
        answer = self.run(service.expire(self.connection, self.account_id, self.now))
        dues = [h.expires_at for h in self.model.holds.values() if h.status == "open"]
        dues += [
            lot.expires_at for lot in self.model.lots.values() if lot.remaining and lot.expires_at
        ]
        assert answer.next_expiry == min((due for due in dues if due > self.now), default=None)

    @rule(overdraft=st.sampled_from([0, 3, 10, 40]).map(Decimal))
    def the_overdraft_changes(self, overdraft: Decimal) -> None:
        self.model.overdraft = overdraft
        self.run(service.set_overdraft(self.connection, self.account_id, overdraft))

    @rule(amount=AMOUNTS, scope=SCOPES)
    def credits_are_taken_away(self, amount: Decimal, scope: str | None) -> None:
        key = self.key()
        expected = self.try_model(self.model.take, amount, scope, self.now)
        for _ in range(2):
            self.same(
                expected,
                service.take(
                    self.connection, account_id=self.account_id, amount=amount, key=key,
                    reason="model", at=self.now, scope=scope,
                ),
            )  # fmt: skip

    @invariant()
    def the_books_agree(self) -> None:
        books = self.run(read_books(self.connection, self.account_id))
        assert books.agree(), books
        assert books.balance >= books.held >= 0
        assert books.debt == self.model.debt
        rows = self.run(
            self.connection.execute(
                select(credit_lots).where(credit_lots.c.account_id == self.account_id)
            )
        ).mappings()
        names = ("remaining", "held", "claimed", "clawed", "lost")
        assert {row["grant_key"]: [row[name] for name in names] for row in rows} == {
            key: [getattr(lot, name) for name in names] for key, lot in self.model.lots.items()
        }

    @invariant()
    def a_read_counts_what_has_expired(self) -> None:
        settled = deepcopy(self.model)
        settled.expire_due(self.now)
        read = self.run(balance_at(self.connection, self.account_id, self.now))
        assert read == (settled.balance, settled.held, settled.used)

    def teardown(self) -> None:
        self.run(self.connection.rollback())


@pytest.fixture
def machine(stack: StackInfo) -> Iterator[type[LedgerMachine]]:
    """The state machine on a loop and connection of its own; Hypothesis is not async."""
    LedgerMachine.loop = asyncio.new_event_loop()
    engine = create_async_engine(stack.app_url)
    LedgerMachine.connection = LedgerMachine.loop.run_until_complete(engine.connect().start())
    yield LedgerMachine
    LedgerMachine.loop.run_until_complete(LedgerMachine.connection.close())
    LedgerMachine.loop.run_until_complete(engine.dispose())
    LedgerMachine.loop.close()


@pytest.mark.slow
def test_no_interleaving_of_verbs_loses_a_credit(machine: type[LedgerMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(25),
            stateful_step_count=int(os.environ.get("LEDGER_STEPS", "50")),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

"""The operator reads at the end what became money on balances, packs apart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from billing.core.database import Database
from billing.core.errors import Unavailable
from billing.money.payments.rules import Outcome
from billing.money.restores import service
from billing.money.restores.schemas import FoundIntent, FoundObject, Placed
from cli.catch_up import CatchUp

AT = datetime(2027, 1, 1, tzinfo=UTC)


def found(intent_id: str, matter: str, currency: str) -> FoundIntent:
    return FoundIntent(
        intent_id=intent_id, outcome=Outcome(kind="succeeded"), amount_minor=999,
        currency=currency, description="", metadata={"matter": matter}, created_at=AT,
    )  # fmt: skip


def test_packs_are_summed_apart_from_the_rest() -> None:
    told = list[str]()
    gateway: Any = SimpleNamespace(client=None)
    walk = CatchUp(cast(Database, None), gateway, AT, told.append)
    for name, matter, minor, currency in (
        ("pi_1", "purchase/pur_1", 999, "USD"),
        ("pi_2", "subscription/sub_1", 4900, "USD"),
        ("pi_3", "purchase/pur_2", 900, "USD"),
        ("pi_4", "purchase/pur_3", 500, "EUR"),
        ("pi_5", "purchase/pur_4", 0, "EUR"),
    ):
        placed = Placed(verdict="kept", words=name, kept_minor=minor)
        walk.report(found(name, matter, currency), placed)
    walk.sum_up()
    assert told == [
        "kept, a pack: pi_1",
        "kept: pi_2",
        "kept, a pack: pi_3",
        "kept, a pack: pi_4",
        "kept: pi_5",
        "put by this run on money balances of packs: 3 payments, 5.00 EUR, 18.99 USD",
        "put by this run on money balances of all else: 1 payments, 49.00 USD",
    ]


async def test_a_run_that_stripe_ends_early_tells_the_sums_of_what_it_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The repeat counts these payments as kept before, and sums them no more."""

    @asynccontextmanager
    async def operator() -> AsyncIterator[None]:
        yield

    async def none(*_: object) -> list[object]:
        return []

    async def intents(*_: object) -> list[FoundIntent]:
        return [found("pi_1", "purchase/pur_1", "USD")]

    async def silent(*_: object) -> list[FoundObject]:
        raise Unavailable("UNAVAILABLE", "no answer")

    async def keep(one: FoundIntent) -> None:
        walk.report(one, Placed(verdict="kept", words=one.intent_id, kept_minor=999))

    told = list[str]()
    gateway: Any = SimpleNamespace(client=None)
    database: Any = SimpleNamespace(operator=operator)
    walk = CatchUp(database, gateway, AT, told.append)
    monkeypatch.setattr(service, "doubt_refunds", none)
    monkeypatch.setattr(walk, "_intent", keep)
    stripe = {"customers": none, "open_pages": none, "intents": intents, "saved": silent}
    monkeypatch.setattr(walk, "_history", SimpleNamespace(**stripe))
    with pytest.raises(Unavailable):
        await walk.run()
    assert told == [
        "kept, a pack: pi_1",
        "put by this run on money balances of packs: 1 payments, 9.99 USD",
    ]

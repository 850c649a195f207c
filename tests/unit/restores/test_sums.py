"""The operator who reconciles reads at the end what became money on balances, packs apart."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from billing.core.database import Database
from billing.money.payments.rules import Outcome
from billing.money.restores.schemas import FoundIntent, Placed
from cli.reconcile import Reconciliation

AT = datetime(2027, 1, 1, tzinfo=UTC)


def found(intent_id: str, matter: str, currency: str) -> FoundIntent:
    return FoundIntent(
        intent_id=intent_id, outcome=Outcome(kind="succeeded"), amount_minor=999,
        currency=currency, description="", metadata={"matter": matter}, created_at=AT,
    )  # fmt: skip


def test_packs_are_summed_apart_from_the_rest() -> None:
    told = list[str]()
    gateway: Any = SimpleNamespace(client=None)
    walk = Reconciliation(cast(Database, None), gateway, AT, told.append)
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
        "kept, a pack: pi_5",
        "on money balances of packs: 3 payments, 5.00 EUR, 18.99 USD",
        "on money balances of all else: 1 payments, 49.00 USD",
    ]

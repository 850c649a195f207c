"""Whoever wakes a matter, in Python or in SQL, leaves its row for a worker to look at now."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import product
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters import store
from billing.matters.kinds import ACCOUNT, REST, SUBSCRIPTION, MatterKind
from billing.matters.tables import matters
from billing.money.payments import event_owners
from billing.platform.provider_inbox.schemas import ProviderEvent
from tests.integration.api_app import Api
from tests.integration.catalog.subscribing import START
from tests.integration.usage.conftest import shop_maker

NOW: Final = START + timedelta(days=9)
LONG_AGO: Final = START - timedelta(days=365 * 10)
DUES: Final = (NOW - timedelta(hours=1), NOW + 2 * REST)
CASES: Final = (*product(("open", "resting", "halted"), DUES), ("closed", None))
Row = dict[str, Any]


async def by_a_command(connection: AsyncConnection, account_id: UUID) -> None:
    await store.wake(connection, ACCOUNT.workflow_id(account_id), NOW)


async def by_an_event(connection: AsyncConnection, account_id: UUID) -> None:
    event = ProviderEvent(
        event_id=f"evt_{uuid4().hex}", type="payment_intent.succeeded", object_id=None,
        account=None, workflow_id=ACCOUNT.workflow_id(account_id), intent_id=None,
        created_at=None, payload={},
    )  # fmt: skip
    await event_owners.receive(connection, [event], "webhook", NOW)


async def by_a_threshold(connection: AsyncConnection, account_id: UUID) -> None:
    known = {"id": account_id, "now": NOW}
    for crossed in (
        "UPDATE subscriptions SET billing_threshold_minor = 1 WHERE account_id = :id",
        "UPDATE usage_periods SET threshold_at = NULL WHERE account_id = :id",
        "SELECT usage_threshold(:id, :now)",
    ):
        await connection.execute(text(crossed), known)


async def by_its_account(connection: AsyncConnection, account_id: UUID) -> None:
    await store.ensure_account(connection, account_id, due=NOW, at=NOW)


@pytest.mark.parametrize(
    ("wake", "kind"),
    [
        (by_a_command, ACCOUNT), (by_an_event, ACCOUNT), (by_its_account, ACCOUNT),
        (by_a_threshold, SUBSCRIPTION),
    ],
)  # fmt: skip
async def test_whoever_wakes_a_matter_leaves_the_same_row(
    api: Api,
    superuser: AsyncConnection,
    wake: Callable[[AsyncConnection, UUID], Awaitable[None]],
    kind: MatterKind,
) -> None:
    shop = await shop_maker(api)(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("510", feature_type="ai_responses")
    ((subscription_id,),) = await shop.rows("SELECT id FROM subscriptions WHERE account_id = :id")
    subject = shop.id if kind is ACCOUNT else subscription_id
    for status, due in CASES:
        before = await put(superuser, kind, shop.id, subject, status, due)
        await wake(superuser, shop.id)
        after = await there(superuser, before["workflow_id"])
        if wake is by_its_account and status in ("open", "resting") and due == DUES[0]:
            assert after == before, "its worker looks in time already"
            continue
        assert after["woken_at"] > before["woken_at"]
        assert after == before | {
            "revision": before["revision"] + 1,
            "status": "halted" if status == "halted" else "open",
            "next_due": min(NOW, due or NOW),
            "next_step": None,
            "next_key": None,
            "woken_at": after["woken_at"],
            "started_at": None,
            "closed_at": None,
        }, status


async def test_an_account_that_must_look_in_some_days_rests_until_then(
    api: Api, superuser: AsyncConnection
) -> None:
    shop, due = await shop_maker(api)(), NOW + 2 * REST
    for status, known, becomes in (
        ("open", due + REST, "open"),
        ("resting", due + REST, "resting"),
        ("halted", due + REST, "halted"),
        ("closed", None, "resting"),
    ):
        before = await put(superuser, ACCOUNT, shop.id, shop.id, status, known)
        await store.ensure_account(superuser, shop.id, due=due, at=NOW)
        after = await there(superuser, before["workflow_id"])
        assert (after["status"], after["next_due"]) == (becomes, due), status
        assert (after["started_at"], after["closed_at"]) == (None, None), status


async def put(
    connection: AsyncConnection,
    kind: MatterKind,
    account_id: UUID,
    subject_id: UUID,
    status: str,
    due: Any,
) -> Row:
    """The matter as a worker left it at the start."""
    row = {
        "workflow_id": kind.workflow_id(subject_id), "account_id": account_id, "kind": kind.name,
        "subject_id": subject_id, "status": status, "words": "", "revision": 7, "next_due": due,
        "next_step": "renew", "next_key": "key", "correlation_id": None, "created_at": START,
        "woken_at": LONG_AGO, "started_at": START, "closed_at": None if due else START,
    }  # fmt: skip
    anew = insert(matters).values(row)
    await connection.execute(anew.on_conflict_do_update(index_elements=["workflow_id"], set_=row))
    return row


async def there(connection: AsyncConnection, name: str) -> Row:
    found = await connection.execute(matters.select().where(matters.c.workflow_id == name))
    return dict(found.mappings().one())

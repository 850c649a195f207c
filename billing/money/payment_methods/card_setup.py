"""Saving a card without a charge [K5]: requested as a row, opened and followed by the account's
matter, finished by a stored method. The customer's browser confirms with the client secret.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared, row_writes
from billing.core.errors import NotFound
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.schemas import Matter
from billing.money.payment_methods import service as methods
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.rules import SetupOutcome, setup_expires_at
from billing.money.payment_methods.schemas import Setup
from billing.money.payment_methods.tables import setup_intents
from billing.platform.audit import service as audit

Cause = Literal["opened", "scheduled", "asked", "told"]
"""Cause of a provider call: opening the setup, the schedule, its owner, an event."""


async def start(
    connection: AsyncConnection,
    account_id: UUID,
    *,
    setup_id: UUID,
    make_default: bool,
    at: datetime,
) -> Matter:
    """Write a request to save a card; return the matter to notify after the commit."""
    await credits.lock(connection, account_id)
    await connection.execute(
        setup_intents.insert().values(
            id=setup_id,
            account_id=account_id,
            status="pending",
            make_default=make_default,
            created_at=at,
        )
    )
    await audit.record(
        connection,
        account_id=account_id,
        action="payment_method.setup_started",
        subject=ids.encode(ids.SETUP_INTENT, setup_id),
        at=at,
        make_default=make_default,
    )
    return await matters.ensure_account(connection, account_id, due=at, at=at)


async def get(connection: AsyncConnection, setup_id: UUID) -> Setup:
    """One card being saved; SETUP_INTENT_NOT_FOUND."""
    return _required(await _find(connection, setup_intents.c.id == setup_id))


async def exists(connection: AsyncConnection, setup_id: UUID) -> bool:
    """True if the request was written."""
    return await _find(connection, setup_intents.c.id == setup_id) is not None


async def find(connection: AsyncConnection, name: str) -> Setup:
    """Find a card being saved by our id or the provider's; SETUP_INTENT_NOT_FOUND."""
    setup_id = ids.parse(ids.SETUP_INTENT, name)
    if setup_id is not None:
        return await get(connection, setup_id)
    return _required(await find_by_reference(connection, name))


async def find_by_reference(connection: AsyncConnection, reference: str) -> Setup | None:
    """Find a card being saved by the provider's id."""
    return await _find(connection, setup_intents.c.stripe_setup_intent_id == reference)


async def ask(
    connection: AsyncConnection, setup: Setup, *, make_default: bool, at: datetime
) -> list[Matter]:
    """Have the provider queried at once, because the owner says the card was given [X30].

    Returns the matters to notify after the commit.
    """
    await credits.lock(connection, setup.account_id)
    setup = await get(connection, setup.id)
    if setup.payment_method_id is not None:
        method = await method_store.get(connection, setup.payment_method_id)
        wanted = make_default and not method.is_default
        return await methods.choose(connection, method.id, at) if wanted else []
    if setup.status in ("refused", "canceled"):
        return []
    # The owner may have finished a setup that was already given up.
    await row_writes.change(
        connection,
        setup_intents,
        setup.id,
        asked_at=at,
        asks=setup.asks + 1,
        finished_at=None,
        make_default=setup.make_default or make_default,
    )
    return [await matters.ensure_account(connection, setup.account_id, due=at, at=at)]


async def record(
    connection: AsyncConnection,
    asked: Setup,
    outcome: SetupOutcome | None,
    *,
    cause: Cause,
    at: datetime,
) -> list[Matter]:
    """Record the provider's answer, and save the card once there is one.

    `asked` is the setup before the provider was asked. No outcome means that the provider refused.
    Returns the matters to notify after the commit.
    """
    setup = await get(connection, asked.id)
    if setup.payment_method_id is not None:
        return []
    is_saved = outcome is not None and outcome.status == "succeeded"
    if cause == "told" and setup.asks != asked.asks and not is_saved:
        return []  # its owner has given a card since: the step that this asked for looks again
    fields: dict[str, Any] = {"checks": setup.checks + (cause == "scheduled")}
    if cause != "opened":
        fields["asked_at"] = None
    woken: list[Matter] = []
    if outcome is None:
        fields |= {"status": "refused", "finished_at": at}
    elif outcome.status == "succeeded" and outcome.card is not None:
        method, woken = await methods.save(
            connection, setup.account_id, outcome.card, at, make_default=setup.make_default
        )
        fields |= {
            "status": "succeeded",
            "payment_method_id": method.id,
            "client_secret": None,
            "finished_at": at,
        }
    else:
        fields |= _standing(setup, outcome, at)
    await row_writes.change(connection, setup_intents, setup.id, **fields)
    return woken


def _standing(setup: Setup, outcome: SetupOutcome, at: datetime) -> dict[str, Any]:
    """Fields of a setup that is not saved yet: the provider's status, or expired."""
    fields: dict[str, Any] = {
        "stripe_setup_intent_id": outcome.setup_intent_id,
        "client_secret": outcome.client_secret or setup.client_secret,
        "status": outcome.status,
    }
    if outcome.status == "canceled":
        fields |= {"finished_at": at, "client_secret": None}
    elif at >= setup_expires_at(setup.created_at):
        fields |= {"status": "expired", "finished_at": at, "client_secret": None}
    return fields


async def _find(connection: AsyncConnection, condition: Any) -> Setup | None:
    row = await prepared.find(connection, select(setup_intents).where(condition))
    return Setup.model_validate(dict(row)) if row else None


def _required(setup: Setup | None) -> Setup:
    if setup is None:
        raise NotFound("SETUP_INTENT_NOT_FOUND")
    return setup

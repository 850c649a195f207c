"""The verbs of a trial: taken once, expired on time, or converted by the first paid plan."""

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.core.clock import now_by
from billing.core.errors import Conflict
from billing.core.settings import Settings
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.agenda import head
from billing.matters.effects import Bear, Rows
from billing.matters.kinds import TRIAL
from billing.matters.schemas import Matter
from billing.money.dunning import store as dunning_store
from billing.money.trials import store
from billing.money.trials.rules import agenda
from billing.money.trials.schemas import Trial
from billing.money.trials.transitions import announcement, view
from billing.platform.accounts.schemas import Account
from billing.platform.accounts.shops import shop_name
from billing.platform.outbox import service as outbox


async def start(
    connection: AsyncConnection, account_id: UUID, *, trial_id: UUID, settings: Settings
) -> Matter:
    """Take the account's one trial of credits [D1, D3, D4, D9], from its now, read under its lock.
    A subscription that money has paid for converts it at once.

    Errors: TRIAL_ALREADY_USED, also when another account of the same platform identity had it;
    PAYMENT_OVERDUE.
    """
    _, account = await credits.lock_with_account(connection, account_id)
    at = now_by(account.clock_at)
    trial = await take(
        connection,
        account,
        trial_id,
        store.ACCOUNT_TRIAL,
        Decimal(settings.trial_credits),
        started_at=at,
        ends_at=at + timedelta(days=settings.trial_days),
    )
    if trial is None:
        raise await _already_used(connection, account.id)
    await _grant(connection, trial, at)
    await outbox.announce(connection, announcement(trial, "started"), at)
    if await store.pays_for_a_plan(connection, account.id):
        trial = await store.convert(connection, trial.id, at)
        await outbox.announce(connection, announcement(trial, "converted"), at)
    first = head(agenda(view(Rows([trial]), account.clock_at)))
    return await matters.birth(connection, Bear(TRIAL, account.id, account.id, first), at)


async def take(
    connection: AsyncConnection,
    account: Account,
    trial_id: UUID,
    kind: str,
    amount: Decimal,
    *,
    started_at: datetime,
    ends_at: datetime,
) -> Trial | None:
    """Use up one kind of trial, once per account and platform identity; None when it was used.

    The caller has read the account under its lock: a later change of the identity counts this
    trial. Errors: PAYMENT_OVERDUE if an invoice of the account is overdue.
    """
    taken = await store.add(
        connection,
        {
            "id": trial_id,
            "account_id": account.id,
            "kind": kind,
            "identity_hash": _identity(account),
            "status": "active",
            "credits": amount,
            "started_at": started_at,
            "expires_at": ends_at,
        },
    )
    if taken is not None and await dunning_store.owes(connection, account.id):
        raise Conflict("PAYMENT_OVERDUE")
    return taken


async def is_used_elsewhere(connection: AsyncConnection, account: Account) -> bool:
    """True if another account of the same platform identity has had the trial of credits.

    Needs a transaction that may see any account.
    """
    identity = _identity(account)
    return identity is not None and await store.is_taken(connection, identity)


async def remember_identity(connection: AsyncConnection, account: Account) -> None:
    """Count the account's trials as those of its platform identity, which became known later or
    has changed since.

    Needs a transaction that may see any account.
    """
    identity = _identity(account)
    if identity is not None:
        await store.remember(connection, account.id, identity)


async def _already_used(connection: AsyncConnection, account_id: UUID) -> Conflict:
    if await store.find(connection, account_id) is not None:
        return Conflict("TRIAL_ALREADY_USED")
    return Conflict(
        "TRIAL_ALREADY_USED", "another account of the same shop has already used the trial"
    )


async def _grant(connection: AsyncConnection, trial: Trial, at: datetime) -> None:
    await credits.grant(
        connection,
        account_id=trial.account_id,
        amount=trial.credits,
        kind="trial",
        key=keys.trial_grant(trial.account_id),
        is_paid=False,
        reason="trial",
        at=at,
        expires_at=trial.expires_at,
        subject=ids.encode(ids.TRIAL, trial.id),
    )


def _identity(account: Account) -> str | None:
    if account.platform is None or account.platform_domain is None:
        return None
    # Accounts of 0.1.0 may have a domain that names no host.
    shop = shop_name(account.platform_domain)
    return hashlib.sha256(f"{account.platform}:{shop}".encode()).hexdigest()

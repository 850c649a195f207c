"""The verbs of a trial: taken once, expired on time, or converted by the first paid plan."""

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts.schemas import Account
from billing.core import context, ids, keys, matters
from billing.core.agenda import head
from billing.core.errors import Conflict, NotFound
from billing.core.money import show_decimal
from billing.core.settings import Settings
from billing.credits import service as credits
from billing.events import service as events
from billing.trials import store
from billing.trials.rules import agenda
from billing.trials.schemas import Trial


async def start(
    connection: AsyncConnection,
    account: Account,
    *,
    trial_id: UUID,
    settings: Settings,
    at: datetime,
) -> matters.Matter:
    """Take the account's one trial of credits [D1, D3, D4, D9].

    Errors: TRIAL_ALREADY_USED, also when another account of the same platform identity had it.
    """
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
        raise Conflict("TRIAL_ALREADY_USED", "the trial of this account was used")
    await _grant(connection, trial, at)
    await _announce(connection, trial, "started", at)
    state = await store.state(connection, account.id)
    return await matters.birth(
        connection,
        kind="trial",
        account_id=account.id,
        subject_id=account.id,
        head=head(agenda(state)),
        at=at,
        correlation_id=context.correlation_id.get(),
    )


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
    """Use up one kind of trial, once per account and platform identity; None when it was used."""
    return await store.add(
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


async def expire(connection: AsyncConnection, account_id: UUID, at: datetime) -> Trial:
    """The unspent part of the trial's lot lapses with its entry; bought credits stay [D7]."""
    trial = await _get(connection, account_id)
    if trial.status != "active":
        return trial
    lapsed = await credits.lapse_lot(
        connection,
        account_id=account_id,
        grant_key=keys.trial_grant(account_id),
        at=at,
        reason="trial expired",
    )
    ended = await store.change(connection, trial.id, status="expired", ended_at=at)
    await _announce(connection, ended, "expired", at, lapsed=show_decimal(lapsed.lapsed))
    return ended


async def convert(connection: AsyncConnection, account_id: UUID, at: datetime) -> None:
    """The first paid subscription ends the trial as converted; its lot keeps its date."""
    trial = await store.find(connection, account_id)
    if trial is None or trial.status != "active":
        return
    ended = await store.change(connection, trial.id, status="converted", ended_at=at)
    await _announce(connection, ended, "converted", at)
    await matters.wake(connection, matters.workflow_id("trial", account_id), at)


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


async def _get(connection: AsyncConnection, account_id: UUID) -> Trial:
    trial = await store.find(connection, account_id)
    if trial is None:
        raise NotFound("TRIAL_NOT_FOUND", "this account has no trial")
    return trial


def _identity(account: Account) -> str | None:
    if account.platform is None or account.platform_domain is None:
        return None
    name = f"{account.platform}:{account.platform_domain.lower()}"
    return hashlib.sha256(name.encode()).hexdigest()


async def _announce(
    connection: AsyncConnection, trial: Trial, what: str, at: datetime, **detail: Any
) -> None:
    subject = ids.encode(ids.TRIAL, trial.id)
    facts = {
        "trial_id": subject,
        "credits": show_decimal(trial.credits),
        "expires_at": trial.expires_at.isoformat(),
        **detail,
    }
    await events.announce(
        connection,
        account_id=trial.account_id,
        action=f"trial.{what}",
        subject=subject,
        facts=facts,
        at=at,
    )

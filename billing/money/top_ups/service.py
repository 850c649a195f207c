"""Top-ups: write the settings, check whether credits are wanted, and record each result.

The account's lock guards all of it; purchases buy the wanted credits.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as plans
from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.core import ids
from billing.core.errors import Conflict, Invalid
from billing.core.money import show_decimal
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.effects import Announce
from billing.money.payment_methods import store as method_store
from billing.money.top_ups import rules, store
from billing.money.top_ups.rules import TopUpStatus
from billing.money.top_ups.schemas import TopUp, TopUpSettings, WantedSettings
from billing.platform.outbox import service as outbox


async def write(
    connection: AsyncConnection, account_id: UUID, wanted: WantedSettings, at: datetime
) -> tuple[TopUpSettings, bool]:
    """Store the account's settings; True: credits are wanted at once, so notify its matter.

    Writing them restarts top-ups after three failures. Errors: INVALID_PACK; CURRENCY_MISMATCH;
    PAYMENT_METHOD_NOT_FOUND; PAYMENT_METHOD_REQUIRED when there is no card to charge.
    """
    balance = await credits.lock(connection, account_id)
    pack = await plans.find_pack(connection, wanted.pack)
    if pack is None or (wanted.is_enabled and not pack.is_active):
        raise Invalid("INVALID_PACK", f"no credit pack {wanted.pack!r}")
    wanted = await _with_card(connection, account_id, wanted)
    currency = balance.currency or DEFAULT_CURRENCY
    is_sold = await plans.pack_price(connection, pack.key, currency) is not None
    if wanted.is_enabled and not is_sold:
        raise Conflict("CURRENCY_MISMATCH", f"pack {pack.key} has no price in {currency}")
    kept = await store.put_settings(
        connection,
        wanted.model_dump()
        | {"pack": pack.key, "account_id": account_id, "failures": 0, "stopped_at": None}
        | {"updated_at": at},
    )
    if wanted.is_enabled:
        await credits.fix_currency(connection, account_id, currency)
    below = wanted.threshold if wanted.is_enabled else None
    await store.change_balance(connection, account_id, below=below, **{"from": None})
    facts = {
        "is_enabled": wanted.is_enabled,
        "threshold": show_decimal(wanted.threshold),
        "pack": pack.key,
        "monthly_cap_cents": wanted.monthly_cap_minor,
        "currency": currency if wanted.is_enabled else balance.currency,
    }
    subject = ids.encode(ids.ACCOUNT, account_id)
    event = Announce(account_id, "top_up.settings_written", subject, facts)
    await outbox.announce(connection, event, at)
    return kept, await store.ask_if_low(connection, account_id, at)


async def _with_card(
    connection: AsyncConnection, account_id: UUID, wanted: WantedSettings
) -> WantedSettings:
    """Demand a card to charge; settings that are off need none, and lose theirs if it is gone."""
    named = wanted.payment_method_id
    if named is None:
        if wanted.is_enabled and await method_store.default(connection, account_id) is None:
            raise Conflict("PAYMENT_METHOD_REQUIRED")
        return wanted
    before = await store.settings(connection, account_id)
    is_kept = before is not None and before.payment_method_id == named
    if not wanted.is_enabled and is_kept and await method_store.find(connection, named) is None:
        return wanted.model_copy(update={"payment_method_id": None})
    await method_store.get(connection, named)
    return wanted


async def completed(
    connection: AsyncConnection,
    *,
    top_up_id: UUID,
    purchase_id: UUID,
    pack: str,
    amount_minor: int,
    currency: str,
    at: datetime,
) -> None:
    """Complete a top-up whose purchase was paid: maybe at once from the money balance, or after the
    top-up had been given up.
    """
    wanted = await store.get(connection, top_up_id)
    top_up = await _decide(
        connection, wanted, "completed", at,
        purchase_id=purchase_id, pack=pack, amount_minor=amount_minor, currency=currency,
    )  # fmt: skip
    await store.change_settings(connection, top_up.account_id, failures=0)
    await _announce(connection, top_up, at)


async def failed(connection: AsyncConnection, top_up_id: UUID, reason: str, at: datetime) -> None:
    """Fail a top-up: try again after a pause, or stop at the third failure in a row, and at once
    where its buyer canceled the purchase.
    """
    top_up = await store.get(connection, top_up_id)
    top_up = await _decide(connection, top_up, "failed", at, reason=reason)
    if reason == "canceled":
        await stop(connection, account_id=top_up.account_id, reason=reason, at=at)
    kept = await store.settings(connection, top_up.account_id)
    if kept is None or not kept.active:
        await _announce(connection, top_up, at)
        return
    failures = kept.failures + 1
    again = rules.retry_at(failures, at)
    stopped_at = at if again is None else None
    await store.change_settings(
        connection, top_up.account_id, failures=failures, stopped_at=stopped_at
    )
    await _announce(connection, top_up, at, failures=failures, again_at=_text(again))
    if again is not None:
        await pause(connection, top_up.account_id, again, at)
        return
    await store.change_balance(connection, top_up.account_id, below=None)
    await _announce(connection, top_up, at, what="stopped", failures=failures)


async def stop(connection: AsyncConnection, *, account_id: UUID, reason: str, at: datetime) -> None:
    """Buy nothing more until the settings are written again, and notify the account; once. The
    account's lock is held.
    """
    kept = await store.settings(connection, account_id)
    if kept is None or not kept.active:
        return
    await store.change_settings(connection, account_id, stopped_at=at)
    await store.change_balance(connection, account_id, below=None)
    facts = dict.fromkeys(("top_up_id", "purchase_id", "amount_cents", "currency"))
    facts |= {"pack": kept.pack, "reason": reason, "failures": kept.failures}
    subject = ids.encode(ids.ACCOUNT, account_id)
    await outbox.announce(connection, Announce(account_id, "top_up.stopped", subject, facts), at)


async def capped(
    connection: AsyncConnection, wanted: TopUp, until: datetime, at: datetime,
    *, asked: Mapping[str, Any], **facts: Any,
) -> None:  # fmt: skip
    """End a top-up that would exceed the month's cap; pause until the next month.

    `asked` are the top-up's columns about what it would have cost.
    """
    reason = "the month's limit is reached"
    top_up = await _decide(connection, wanted, "capped", at, reason=reason, **asked)
    await _announce(connection, top_up, at, what="capped", until=_text(until), **facts)
    await pause(connection, top_up.account_id, until, at)


async def drop(connection: AsyncConnection, top_up: TopUp, reason: str, at: datetime) -> None:
    """End a top-up that is no longer wanted."""
    await _decide(connection, top_up, "dropped", at, reason=reason)


async def pause(
    connection: AsyncConnection, account_id: UUID, until: datetime, at: datetime
) -> None:
    """Want nothing before `until`; the account's matter then checks again."""
    await store.change_balance(connection, account_id, **{"from": until})
    await matters.send_watch(connection, account_id, due=until, at=at)


async def _decide(
    connection: AsyncConnection, top_up: TopUp, status: TopUpStatus, at: datetime, **more: Any
) -> TopUp:
    """End a top-up; a late result of an ended one changes only that one."""
    await credits.lock(connection, top_up.account_id)
    if top_up.decided_at is None:
        await store.change_balance(connection, top_up.account_id, open=False)
    return await store.change(connection, top_up.id, status=status, decided_at=at, **more)


async def _announce(
    connection: AsyncConnection, top_up: TopUp, at: datetime, *, what: str = "", **more: Any
) -> None:
    subject = ids.encode(ids.TOP_UP, top_up.id)
    purchase = top_up.purchase_id
    facts = {
        "top_up_id": subject,
        "pack": top_up.pack,
        "purchase_id": ids.encode(ids.PURCHASE, purchase) if purchase else None,
        "amount_cents": top_up.amount_minor,
        "currency": top_up.currency,
        "reason": top_up.reason,
        **more,
    }
    action = f"top_up.{what or top_up.status}"
    await outbox.announce(connection, Announce(top_up.account_id, action, subject, facts), at)


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None

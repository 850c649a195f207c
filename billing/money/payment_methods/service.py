"""Stored payment methods: metadata only, one default per account [K2 to K5, K7].

The account's lock ensures that there is only one default and that a needed last card stays.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.errors import Conflict
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.kinds import ACCOUNT, RECOVERING, SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.metering.usage import unpaid
from billing.money.payment_methods import store
from billing.money.payment_methods.rules import (
    CardDetails,
    can_pay,
    card_facts,
    keeping,
    replaced,
    successor,
)
from billing.money.payment_methods.schemas import Method
from billing.money.payment_methods.tables import payment_methods
from billing.platform.audit import service as audit
from billing.platform.outbox import service as outbox
from billing.platform.outbox.kinds import PREFIX

Ask = Callable[[AsyncConnection, UUID], Awaitable[bool]]
"""A query about a method or an account that a higher layer answers."""
ChargedIn = Callable[[AsyncConnection, UUID], Awaitable[str | None]]
"""A query for the currency in which an account needs a card; None: it needs none."""


async def save(
    connection: AsyncConnection,
    account_id: UUID,
    card: CardDetails,
    at: datetime,
    *,
    make_default: bool,
    by_link: bool = False,
    at_stripe: bool = False,
) -> tuple[Method, list[Matter]]:
    """Save a card that was given, by the rule of `keeping`; `at_stripe`: in Stripe's portal.

    A default that is new is tried at once on what is overdue. Returns also the woken matters, to be
    notified after the commit.
    """
    await credits.lock(connection, account_id)
    methods = await store.ever_of(connection, account_id)
    kept = keeping(methods, card, at, make_default=make_default, by_link=by_link)
    if kept.method is None:
        method = await _add(connection, account_id, kept.fields, at)
    elif kept.is_given_again:
        method = await _replace(connection, kept.method, kept.fields, at)
    else:
        method = await _refresh(connection, kept.method, kept.fields, at)
    if kept.default_since is not None:
        since = kept.default_since
        method = await _make_default(connection, method, since, at, at_stripe=at_stripe)
    if kept.is_new and method.is_default:
        return method, await _try(connection, account_id, at)
    return method, await matters.wake_open(connection, account_id, RECOVERING, at)


async def choose(
    connection: AsyncConnection, method_id: UUID, at: datetime, *, at_stripe: bool = False
) -> list[Matter]:
    """Make a method the account's one default; it is tried at once on what is overdue [K3].

    `at_stripe`: it follows from what its owner did there. Returns the woken matters, to be notified
    after the commit. Errors: PAYMENT_METHOD_NOT_FOUND.
    """
    account_id = (await store.get(connection, method_id)).account_id
    await credits.lock(connection, account_id)
    method = await store.get(connection, method_id)
    await _make_default(connection, method, at, at, at_stripe=at_stripe)
    return await _try(connection, account_id, at)


async def choose_backup(connection: AsyncConnection, method_id: UUID, at: datetime) -> list[Matter]:
    """Make a method the account's one backup; invoices whose card was refused try it now [K6].

    Returns the woken matters, to be notified after the commit.
    Errors: PAYMENT_METHOD_NOT_FOUND, PAYMENT_METHOD_IS_DEFAULT.
    """
    account_id = (await store.get(connection, method_id)).account_id
    await credits.lock(connection, account_id)
    method = await store.get(connection, method_id)
    if method.is_default:
        raise Conflict("PAYMENT_METHOD_IS_DEFAULT")
    if method.is_backup:
        return []
    for other in await store.others(connection, method):
        if other.is_backup:
            await _end_backup(connection, other, at)
    await _record(
        connection, await store.change(connection, method_id, is_backup=True), "backup_chosen", at
    )
    return await matters.wake_open(connection, account_id, RECOVERING, at)


async def end_backup(connection: AsyncConnection, method_id: UUID, at: datetime) -> Method:
    """Stop using a method as the backup. Errors: PAYMENT_METHOD_NOT_FOUND."""
    method = await store.get(connection, method_id)
    await credits.lock(connection, method.account_id)
    method = await store.get(connection, method_id)
    return await _end_backup(connection, method, at) if method.is_backup else method


async def rename(
    connection: AsyncConnection, method_id: UUID, label: str | None, at: datetime
) -> Method:
    """Set the owner's label for a method. Errors: PAYMENT_METHOD_NOT_FOUND."""
    before = await store.get(connection, method_id)
    if before.label == label:
        return before
    renamed = await store.change(connection, method_id, label=label)
    await _audit(connection, renamed, "payment_method.renamed", at, label=label)
    return renamed


async def remove(
    connection: AsyncConnection,
    method_id: UUID,
    successor_id: UUID | None,
    at: datetime,
    *,
    is_in_use: Ask,
    charged_in: ChargedIn,
) -> list[Matter]:
    """Remove a method at once; the account's matter detaches it at the provider afterwards.

    The next default is the named one, else the newest other one that can pay. Under the account's
    lock, `is_in_use` returns whether a payment with the method is under way, and `charged_in` the
    currency in which a last method that can pay must stay. Returns the matters to notify after the
    commit.
    Errors: PAYMENT_METHOD_NOT_FOUND, PAYMENT_METHOD_IN_USE.
    """
    account_id = (await store.get(connection, method_id)).account_id
    await credits.lock(connection, account_id)
    method = await store.get(connection, method_id)
    if await is_in_use(connection, method.id):
        raise Conflict("PAYMENT_METHOD_IN_USE", "a payment with this method is in progress")
    currency = await charged_in(connection, account_id)
    if currency is not None:
        await _refuse_last(connection, method, currency)
    await store.change(
        connection, method_id, status="removing", is_default=False, is_backup=False, removed_at=at
    )
    await _record(connection, method, "removed", at)
    woken = await _hand_over(connection, method, successor_id, at)
    # Another card may pay a subscription that named this one: its expiry counts from now on.
    woken = woken or await matters.wake_open(connection, account_id, (SUBSCRIPTION,), at)
    owner = await matters.ensure_account(connection, account_id, due=at, at=at)
    return [owner, *woken]


async def gone(connection: AsyncConnection, method: Method, at: datetime) -> list[Matter]:
    """Record that the owner removed a method at the provider; under the account's lock.

    Returns the woken matters, to be notified after the commit.
    """
    await _record(connection, method, "removed", at)
    await detached(connection, method.id, at)
    woken = await _hand_over(connection, method, None, at, at_stripe=True)
    return woken or await matters.wake_open(connection, method.account_id, (SUBSCRIPTION,), at)


async def all_gone(connection: AsyncConnection, account_id: UUID, at: datetime) -> list[Matter]:
    """Record that every method went with the account's customer; under the account's lock.

    Returns the woken matters, to be notified after the commit.
    """
    for method in await store.active(connection, account_id):
        await _record(connection, method, "removed", at)
        await detached(connection, method.id, at)
    return await matters.wake_open(connection, account_id, RECOVERING, at)


async def detached(connection: AsyncConnection, method_id: UUID, at: datetime) -> None:
    """Record that the provider has detached a method."""
    gone = await store.detach(connection, method_id, at)
    await _audit(connection, gone, "payment_method.detached", at)


async def _hand_over(
    connection: AsyncConnection,
    before: Method,
    successor_id: UUID | None,
    at: datetime,
    *,
    at_stripe: bool = False,
) -> list[Matter]:
    """Replace a removed method as default by the named one, else by the rule of `successor`."""
    if successor_id is None:
        currency = (await credits.lock(connection, before.account_id)).currency
        next_one = successor(before, await store.others(connection, before), currency)
        successor_id = next_one.id if next_one is not None else None
    if successor_id is None:
        return []
    return await choose(connection, successor_id, at, at_stripe=at_stripe)


async def _try(connection: AsyncConnection, account_id: UUID, at: datetime) -> list[Matter]:
    """Wake the matters that try a new default on what is overdue or unpaid."""
    woken = await matters.wake_open(connection, account_id, RECOVERING, at)
    return [*woken, *await unpaid.another_card(connection, account_id, at)]


async def _end_backup(connection: AsyncConnection, backup: Method, at: datetime) -> Method:
    ended = await store.change(connection, backup.id, is_backup=False)
    await _record(connection, ended, "backup_ended", at)
    return ended


async def _make_default(
    connection: AsyncConnection,
    method: Method,
    chosen_at: datetime,
    at: datetime,
    *,
    at_stripe: bool,
) -> Method:
    """Make a method the one default; under the account's lock."""
    if method.is_backup:
        await _end_backup(connection, method, at)
    await connection.execute(
        update(payment_methods)
        .where(
            payment_methods.c.account_id == method.account_id,
            payment_methods.c.is_default,
            payment_methods.c.id != method.id,
        )
        .values(is_default=False)
    )
    chosen = await store.change(connection, method.id, is_default=True, chosen_at=chosen_at)
    detail = {store.AT_STRIPE: True} if at_stripe else {}
    await _record(connection, chosen, "chosen", at, **detail)
    return chosen


async def _add(
    connection: AsyncConnection, account_id: UUID, fields: dict[str, Any], at: datetime
) -> Method:
    row = {"id": ids.new(), "account_id": account_id, "created_at": at, **fields}
    method = await store.add(connection, row)
    await _record(connection, method, "added", at)
    await matters.write_idle(connection, ACCOUNT, account_id, account_id, at)
    return method


async def _replace(
    connection: AsyncConnection, method: Method, fields: dict[str, Any], at: datetime
) -> Method:
    """Update a known card that was given again; the account's matter detaches the old one."""
    before = replaced(method, ids.new(), at)
    renewed = await _refresh(connection, method, fields, at)
    await store.add(connection, before.model_dump())
    return renewed


async def _refresh(
    connection: AsyncConnection, method: Method, fields: dict[str, Any], at: datetime
) -> Method:
    """Update a card's metadata from the provider, such as the new expiry of a renewed card."""
    if not fields:
        return method
    renewed = await store.change(connection, method.id, **fields)
    await _record(connection, renewed, "updated", at)
    return renewed


async def _refuse_last(connection: AsyncConnection, method: Method, currency: str) -> None:
    """Refuse to remove the last method that can pay, or the last one at all."""
    others = await store.others(connection, method)
    if can_pay(method, currency):
        others = [one for one in others if can_pay(one, currency)]
    if not others:
        raise Conflict("PAYMENT_METHOD_IN_USE")


async def _record(
    connection: AsyncConnection, method: Method, what: str, at: datetime, **detail: Any
) -> None:
    """Write the audit row [K11], which alone has the detail, and the event."""
    action = f"payment_method.{what}"
    await _audit(connection, method, action, at, **detail)
    await outbox.publish(
        connection,
        account_id=method.account_id,
        type=PREFIX + action,
        data=card_facts(method),
        at=at,
    )


async def _audit(
    connection: AsyncConnection, method: Method, action: str, at: datetime, **detail: Any
) -> None:
    await audit.record(
        connection,
        account_id=method.account_id,
        action=action,
        subject=ids.encode(ids.PAYMENT_METHOD, method.id),
        at=at,
        **{**card_facts(method), **detail},
    )

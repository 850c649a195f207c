"""Create and change accounts, for the operators' route and the merchant event alike [A11]."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import now_by
from billing.core.errors import Conflict, NotFound, wrong_field
from billing.platform.accounts import issuers, store
from billing.platform.accounts.schemas import Account, AccountFields
from billing.platform.audit import service as audit


async def upsert(connection: AsyncConnection, wanted: AccountFields) -> tuple[Account, bool]:
    """Create or update the account with this external id; return it, and True if it is new.

    Needs a transaction that may see any account. Raises `Conflict` ACCOUNT_FIXED for a changed
    `is_test` or clock, CLOCK_NEEDS_TEST_ACCOUNT, `NotFound` ISSUER_NOT_FOUND, and `Invalid`
    VALIDATION_FAILED for a new external id with a slash.
    """
    if wanted.clock_at is not None and not wanted.is_test:
        raise Conflict("CLOCK_NEEDS_TEST_ACCOUNT")
    account = await _add(connection, wanted)
    if account is not None:
        return account, True
    known = await store.lock_by_external(connection, wanted.external_id)
    return await _change(connection, known, wanted), False


async def _add(connection: AsyncConnection, wanted: AccountFields) -> Account | None:
    row = wanted.model_dump(exclude={"issuer"}) | {
        "id": ids.new(),
        "issuer_id": await _issuer(connection, wanted.issuer),
        "created_at": now_by(wanted.clock_at),
        "clock_status": "ready" if wanted.clock_at else None,
    }
    account = await store.add(connection, row)
    if account is not None:
        if "/" in account.external_id:  # known ones are changed all the same
            raise wrong_field("external_id", "a new one must not contain a slash")
        await _record(connection, account, "account.created", {})
    return account


async def _change(connection: AsyncConnection, known: Account, wanted: AccountFields) -> Account:
    sent: dict[str, Any] = wanted.model_dump(include=wanted.model_fields_set - {"external_id"})
    # As at the account's creation: afterwards only the clock's own route moves it.
    born_with = {
        "is_test": known.is_test,
        "clock_at": known.created_at if known.clock_at is not None else None,
    }
    for name, fixed in born_with.items():
        if name in sent and sent.pop(name) != fixed:
            raise Conflict("ACCOUNT_FIXED", f"{name} cannot change after the account is created")
    if "issuer" in sent:
        sent["issuer_id"] = await _issuer(connection, sent.pop("issuer"))
    changes = {name: value for name, value in sent.items() if value != getattr(known, name)}
    if not changes:
        return known
    account = await store.change(connection, known.id, changes)
    await _record(connection, account, "account.changed", {"fields": sorted(changes)})
    return account


async def _issuer(connection: AsyncConnection, key: str | None) -> UUID | None:
    """Return the id of the named issuer; None if none is named."""
    if key is None:
        return None
    found = await issuers.find(connection, key)
    if found is None:
        raise NotFound("ISSUER_NOT_FOUND", f"no issuer {key!r}")
    return found


async def _record(
    connection: AsyncConnection, account: Account, action: str, detail: dict[str, Any]
) -> None:
    await audit.record(
        connection,
        account_id=account.id,
        action=action,
        subject=ids.encode(ids.ACCOUNT, account.id),
        at=now_by(account.clock_at),
        **detail,
    )

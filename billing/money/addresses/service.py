"""Billing addresses added, changed and removed, each in the caller's transaction [K12, K13].

Every change is made under the account's lock, so that an account with addresses has one default.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.taxes import store as taxes
from billing.core import ids, row_writes
from billing.core.errors import Conflict, Invalid, NotFound
from billing.ledger.credits import service as credits
from billing.money.addresses import rules, store
from billing.money.addresses.schemas import Address
from billing.money.addresses.tables import billing_addresses
from billing.platform.accounts import store as accounts
from billing.platform.audit import service as audit

MAX_ADDRESSES: Final = 50


async def get(
    connection: AsyncConnection, account_id: UUID, address_id: UUID, user_id: str | None = None
) -> Address:
    """One address, of this user or of none if one is given. Errors: ADDRESS_NOT_FOUND."""
    found = await store.find(connection, account_id, address_id, user_id)
    if found is None:
        raise NotFound("ADDRESS_NOT_FOUND")
    return found


async def add(
    connection: AsyncConnection,
    account_id: UUID,
    address_id: UUID,
    fields: Mapping[str, Any],
    at: datetime,
) -> Address:
    """Add an address; the first one becomes the default. Errors: ADDRESS_LIMIT, INVALID_REGION.

    A known id returns its address, unchanged.
    """
    await credits.lock(connection, account_id)
    known = await store.find(connection, account_id, address_id)
    if known is not None:
        return known
    there = await store.count(connection, account_id)
    if there >= MAX_ADDRESSES:
        raise Conflict("ADDRESS_LIMIT", f"an account has at most {MAX_ADDRESSES} addresses")
    await _taxable(connection, fields["country"], fields["state"])
    is_default = bool(fields["is_default"]) or not there
    if is_default:
        await store.have_no_default(connection, account_id)
    row = dict(fields) | {
        "id": address_id, "account_id": account_id, "is_default": is_default,
        "created_at": at, "updated_at": at,
    }  # fmt: skip
    added = Address.model_validate(await row_writes.add(connection, billing_addresses, row))
    await _audit(connection, added, "address.added", at)
    return added


async def change(
    connection: AsyncConnection,
    account_id: UUID,
    address_id: UUID,
    fields: Mapping[str, Any],
    at: datetime,
) -> Address:
    """Overwrite the fields that are given. Errors: ADDRESS_NOT_FOUND, INVALID_REGION."""
    await credits.lock(connection, account_id)
    before = await get(connection, account_id, address_id)
    changed = {name: value for name, value in fields.items() if getattr(before, name) != value}
    if not changed:
        return before
    # The default address decides the taxes.
    if changed.keys() & {"country", "state", "is_default"}:
        await _taxable(
            connection, changed.get("country", before.country), changed.get("state", before.state)
        )
    if "is_default" in changed:
        await store.have_no_default(connection, account_id)
    after = await _change(connection, address_id, changed, at)
    await _audit(connection, after, "address.changed", at, fields=sorted(changed))
    return after


async def remove(
    connection: AsyncConnection, account_id: UUID, address_id: UUID, at: datetime
) -> Address:
    """Delete an address; if it was the default, the newest that may decide the tax becomes it.

    Billing details that name it use the default again. Returns the removed address.
    Errors: ADDRESS_NOT_FOUND, INVALID_REGION.
    """
    await credits.lock(connection, account_id)
    gone = await get(connection, account_id, address_id)
    successor = await _successor(connection, gone) if gone.is_default else None
    was_named = await store.unname(connection, account_id, address_id, at)
    await row_writes.send_removal(connection, billing_addresses, address_id)
    await _audit(connection, gone, "address.removed", at)
    if was_named:
        await audit.record(
            connection, account_id=account_id, action="billing_details.changed",
            subject=ids.encode(ids.ACCOUNT, account_id), at=at, fields=["address_id"],
        )  # fmt: skip
    if successor is not None:
        chosen = await _change(connection, successor.id, {"is_default": True}, at)
        await _audit(connection, chosen, "address.changed", at, fields=["is_default"])
    return gone


async def _successor(connection: AsyncConnection, gone: Address) -> Address | None:
    """Return the address that decides the taxes without this one; None leaves it to the account's
    country, which is refused where its regions ask for tax.
    """
    others = await store.others(connection, gone.account_id, gone.id)
    for one in others:
        if not await _regions_to_name(connection, one.country, one.state):
            return one
    country = (await accounts.get(connection, gone.account_id)).country
    if others or (country and await _regions_to_name(connection, country, None)):
        raise Invalid(
            "INVALID_REGION",
            "the default address decides the tax, and no other one names its region by an"
            " ISO 3166-2 code: add or change one first",
        )
    return None


async def _taxable(connection: AsyncConnection, country: str, state: str | None) -> None:
    """Refuse an address whose region's tax could not be found."""
    regions = await _regions_to_name(connection, country, state)
    if regions:
        raise Invalid(
            "INVALID_REGION",
            f"state must be an ISO 3166-2 code, because regions of {country} have their own taxes:"
            f" {', '.join(regions)}",
        )


async def _regions_to_name(
    connection: AsyncConnection, country: str, state: str | None
) -> list[str]:
    """Return the regions that ask for tax if an address leaves out its region, has its name or
    another abbreviation: their rates are found by code.
    """
    code = rules.code_of(country, state or "")
    if rules.may_be_code(country, code):
        return []
    regions = await taxes.regions(connection, country)
    return [] if code in regions else regions


async def _change(
    connection: AsyncConnection, address_id: UUID, fields: Mapping[str, Any], at: datetime
) -> Address:
    row = await row_writes.change(
        connection, billing_addresses, address_id, **fields, updated_at=at
    )
    return Address.model_validate(row)


async def _audit(
    connection: AsyncConnection, address: Address, action: str, at: datetime, **detail: Any
) -> None:
    # The address itself stays out: audit rows outlive a person's data.
    await audit.record(
        connection,
        account_id=address.account_id,
        action=action,
        subject=ids.encode(ids.ADDRESS, address.id),
        at=at,
        country=address.country,
        is_default=address.is_default,
        **detail,
    )

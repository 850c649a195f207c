"""Users whose usage a caller may record and read.

A member may only record and read its own; other roles any user's [A14, X29].
"""

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.calls import Call, ReadCall
from api.identity.auth import MEMBER
from billing.core import clock
from billing.core.errors import NotFound
from billing.ledger.credits import store as holds
from billing.metering.usage import logs, rules
from billing.metering.usage.schemas import Use
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice


def only_user(call: Call) -> str | None:
    """Return the one user whose uses the caller may see; None when it may see all."""
    return call.caller.subject if call.caller.roles == {MEMBER} else None


def is_member(call: Call) -> bool:
    """Return True for a caller who may see no single use of other users."""
    return only_user(call) is not None


def user_of(named: str | None, call: Call) -> str | None:
    """Return the user whose uses a request writes or shows; None for all. A member is its own user.

    Errors: NOT_FOUND for another user, so that a member cannot tell who exists [X29].
    """
    only = only_user(call)
    if only is not None and named not in (None, only):
        raise NotFound("NOT_FOUND")
    return named if only is None else only


def for_all(service: str | None, call: Call) -> str | None:
    """Return the service that a caller says uses a product which is new here.

    The product counts on that service's meter for every account, so only callers that act for all
    accounts say it.
    """
    return service if call.caller.operates else None


def event_key(account_id: UUID, event_id: str, call: Call) -> str:
    """Return the id of an event's record as hexadecimal digits.

    A member's events have ids of their own, so it cannot claim another user's use by guessing the
    event id.
    """
    only, account = only_user(call), account_id.hex
    name = account if only is None else f"{account}|{only}\0"
    return rules.record_key(name, event_id, clock.real_now())


def own_event_key(account_id: UUID, event_id: str | None, call: Call) -> str | None:
    """Return a member's `event_key`; None where account and event alone name the record."""
    if event_id is None or only_user(call) is None:
        return None
    return event_key(account_id, event_id, call)


async def readable_invoice(connection: AsyncConnection, call: Call, invoice_id: UUID) -> Invoice:
    """Return an invoice. A member finds none of a single use, because it may be another user's.

    Errors: INVOICE_NOT_FOUND.
    """
    invoice = await invoice_store.get(connection, invoice_id)
    if invoice.is_of_use and is_member(call):
        raise NotFound("INVOICE_NOT_FOUND")
    return invoice


async def others_holds(uses: Iterable[Use], call: Call) -> set[UUID]:
    """Return the holds of these uses that a member's `sub` did not create: it may not spend them.

    Every other caller may spend any hold of the account.
    """
    only = only_user(call)
    wanted = {use.hold_id: use.account_id for use in uses if use.hold_id is not None}
    if only is None or not wanted:
        return set()
    async with call.database.tenant(*set(wanted.values())) as connection:
        return wanted.keys() - await holds.made_by(connection, only, wanted.keys())


async def others_spends(
    connection: AsyncConnection, call: ReadCall, entries: Collection[UUID]
) -> dict[UUID, bool]:
    """Return entries that spent for other users, and whether the member has a share in each."""
    only = only_user(call)
    if only is None or not entries:
        return {}
    return await logs.others_behind(connection, call.account_id, only, entries)

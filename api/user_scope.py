"""The users that a caller may record and read: a member itself, others everybody [A14, X29]."""

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.problem_codes import not_found
from api.dependencies import AccountCall, Call
from api.identity.auth import MEMBER
from billing.core import clock
from billing.ledger.credits import store as holds
from billing.metering.usage import logs, rules
from billing.metering.usage.schemas import Use


def only_user(call: Call) -> str | None:
    """The one user whose uses the caller may see; None when it may see all."""
    return call.caller.subject if call.caller.roles == {MEMBER} else None


def user_of(named: str | None, call: Call) -> str | None:
    """The user of a request, whose uses are written or shown; None for all. A member is its own.

    Errors: NOT_FOUND for another, who is to a member as if there were none [X29].
    """
    only = only_user(call)
    if only is not None and named not in (None, only):
        raise not_found("NOT_FOUND")
    return named if only is None else only


def event_key(account_id: UUID, event_id: str, call: Call) -> str:
    """The id of an event's record, as hexadecimal digits.

    The events of a member are its own: it takes no other's use by guessing the id.
    """
    only, account = only_user(call), account_id.hex
    name = account if only is None else f"{account}|{only}\0"
    return rules.record_key(name, event_id, clock.real_now())


def own_event_key(account_id: UUID, event_id: str | None, call: Call) -> str | None:
    """As `event_key`, for a member's event; None where account and event alone name the record."""
    if event_id is None or only_user(call) is None:
        return None
    return event_key(account_id, event_id, call)


async def others_holds(uses: Iterable[Use], call: Call) -> set[UUID]:
    """Holds that should pay uses, and that a member may not spend: its own `sub` did not make them.

    Every other caller spends any hold of the account.
    """
    only = only_user(call)
    wanted = {use.hold_id: use.account_id for use in uses if use.hold_id is not None}
    if only is None or not wanted:
        return set()
    async with call.database.tenant(*set(wanted.values())) as connection:
        return wanted.keys() - await holds.made_by(connection, only, wanted.keys())


async def others_spends(
    connection: AsyncConnection, call: AccountCall, entries: Collection[UUID]
) -> dict[UUID, bool]:
    """Those of these ledger entries that spent for others than this member, and whether it has a
    share in them.
    """
    only = only_user(call)
    if only is None or not entries:
        return {}
    return await logs.others_behind(connection, call.account.id, only, entries)

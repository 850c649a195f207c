"""Limits on how far back a customer's own token may date a use.

A use counts in the quotas, budgets and prices of its own day, so only operators may import history.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from api.calls import AccountCall
from api.usage.repeats import sent_again
from api.user_scope import only_user
from billing.core import clock
from billing.core.errors import Invalid
from billing.metering.usage.schemas import Use
from billing.money.subscriptions.periods import credited_spans
from billing.money.subscriptions.periods.credited_spans import Span

TOO_OLD: Final = "EVENT_TOO_OLD"
SLOW_CLOCK: Final = timedelta(minutes=5)
"""Tolerance for a caller's slow clock, or for a use that is delayed on its way."""
BEFORE_THE_ACCOUNT: Final = "occurred_at: more than 5 minutes before the account was opened"
GIVEN_BACK: Final = "occurred_at: in a cycle that was credited or is unpaid"
LATE_FOR_A_MEMBER: Final = "occurred_at: more than 5 minutes ago, which requires the role billing"


async def too_old(call: AccountCall, uses: Sequence[Use]) -> dict[int, str]:
    """Return the uses dated further back than the caller may, by place, each with the reason.

    A use that is already recorded is not among them: sent again it gets its first answer.
    """
    if call.caller.operates or all(use.at is None for use in uses):
        return {}
    async with call.transaction() as connection:
        return await too_old_here(connection, call, uses)


async def too_old_here(
    connection: AsyncConnection, call: AccountCall, uses: Sequence[Use]
) -> dict[int, str]:
    """Do the same in this transaction; under the account's lock it holds until the commit."""
    dated = [(place, use.at) for place, use in enumerate(uses) if use.at is not None]
    if not dated:
        return {}
    first = min(at for _, at in dated)
    recent = None
    if only_user(call) is not None:
        recent = await _now(call, connection) - SLOW_CLOCK
    spans = await credited_spans.spans_after(connection, call.account.id, first)
    found = {
        place: reason
        for place, at in dated
        if (reason := _refusal(at, call.account.opened_at, recent, spans)) is not None
    }
    events = {place: (call.account.id, uses[place].event_id) for place in found}
    known = await sent_again(connection, call, events)
    return {place: reason for place, reason in found.items() if place not in known}


async def check(call: AccountCall, use: Use) -> None:
    """Refuse a use that the caller may not date so far back. Errors: EVENT_TOO_OLD."""
    for reason in (await too_old(call, [use])).values():
        raise Invalid(TOO_OLD, reason)


async def _now(call: AccountCall, connection: AsyncConnection) -> datetime:
    if not call.account.is_test:  # only test accounts have their own clock
        return clock.real_now()
    return await clock.now(connection, call.account.id)


def _refusal(
    at: datetime, opened_at: datetime, recent: datetime | None, spans: Sequence[Span]
) -> str | None:
    if at < opened_at - SLOW_CLOCK:
        return BEFORE_THE_ACCOUNT
    if any(since <= at < until for since, until in spans):
        return GIVEN_BACK
    return LATE_FOR_A_MEMBER if recent is not None and at < recent else None

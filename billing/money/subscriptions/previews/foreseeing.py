"""Previews of a running subscription, with use counted in SQL as it would be then.

The tables say what a plan includes in a cycle: so the caller has these changes of a command
written, read, and rolled back. Nothing else of the command is written.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters.effects import Add, Change, Do, Effect, Remove, Row, Work
from billing.money.invoices import usage_lines
from billing.money.invoices.arrears import Arrear
from billing.money.invoices.schemas import Invoice, InvoiceLine
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods.agreed_limits import ALIGN_LIMITS
from billing.money.subscriptions.periods.cycles import OPEN_USAGE_PERIOD
from billing.money.subscriptions.previews import deciding
from billing.money.subscriptions.previews.deciding import Preview
from billing.money.subscriptions.reading import ENGINE
from billing.money.subscriptions.schemas import (
    CrossedPeriod,
    Item,
    Subscription,
    SubscriptionChange,
)
from billing.platform.decisions import writer

_INCLUDING: Final[tuple[type[Row], ...]] = (Subscription, Item, SubscriptionChange, CrossedPeriod)
"""Rows that say what a cycle includes; a change also refers to its draft, as it was drafted."""
_DRAFTED: Final[tuple[type[Row], ...]] = (Invoice, InvoiceLine)
_FOLLOWS: Final = (ALIGN_LIMITS, OPEN_USAGE_PERIOD)


async def foresee(
    connection: AsyncConnection, work: Work[SubscriptionFacts], as_of: datetime
) -> Preview:
    """Return the outcome of a command that was decided and not written, with its period's end.

    The caller rolls everything back, and holds the locks of the decision unless it was `glanced`.
    """
    seen = deciding.preview(work, as_of)
    return _with_end(seen, work, await _usage(connection, work))


def glanced(work: Work[SubscriptionFacts], as_of: datetime) -> Preview | None:
    """As `foresee`, where no use must be counted again; else None."""
    seen = deciding.preview(work, as_of)
    return None if _must_count(work) else _with_end(seen, work, work.facts.usage)


def _with_end(seen: Preview, work: Work[SubscriptionFacts], usage: tuple[Arrear, ...]) -> Preview:
    coming = deciding.upcoming(work.rows, replace(work.facts, usage=usage))
    return seen.model_copy(update={"upcoming": coming})


def _must_count(work: Work[SubscriptionFacts]) -> bool:
    """True if a command, with the payment that it awaits, changes what a cycle with use includes,
    so that SQL must count it again.
    """
    return bool(work.facts.usage) and any(isinstance(one, Do) for one in _kept(work.effects))


async def _usage(connection: AsyncConnection, work: Work[SubscriptionFacts]) -> tuple[Arrear, ...]:
    """Return overage that no invoice bills then. A change never makes it more than it is."""
    if not _must_count(work):
        return work.facts.usage
    await writer.write(connection, _kept(work.effects), work.facts.at, ENGINE.verbs)
    found = await usage_lines.UNBILLED.all(connection, subscription_id=work.facts.subscription_id)
    return usage_lines.owed(found, work.rows)


def _kept(effects: Sequence[Effect]) -> list[Effect]:
    """Return the effects that the counting of use depends on; none moves money or notifies."""
    return [one for one in effects if _counts(one)]


def _counts(effect: Effect) -> bool:
    match effect:
        case Add(row):
            return isinstance(row, (*_INCLUDING, *_DRAFTED))
        case Change(row_type) | Remove(row_type):
            return row_type in _INCLUDING
        case Do(verb):
            return verb in _FOLLOWS
        case _:
            return False

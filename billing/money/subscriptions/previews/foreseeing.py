"""Previews of a running subscription with its use as it would be counted then, in SQL as ever.

What a plan includes of a cycle is counted by the tables: so what a verb changes of it is written,
read, and rolled back by the caller. Nothing else of the verb is written.
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
"""Rows that say what a cycle includes; a change also names its draft, as it was drafted."""
_DRAFTED: Final[tuple[type[Row], ...]] = (Invoice, InvoiceLine)
_FOLLOWS: Final = "open_usage_period"


async def foresee(
    connection: AsyncConnection, work: Work[SubscriptionFacts], as_of: datetime
) -> Preview:
    """The outcome of a verb that was decided and not written, with the end of its period.

    The caller holds the locks of the decision, and rolls everything back.
    """
    seen = deciding.preview(work, as_of)
    usage = await _usage(connection, work)
    coming = deciding.upcoming(work.rows, replace(work.facts, usage=usage))
    return seen.model_copy(update={"upcoming": coming})


async def _usage(connection: AsyncConnection, work: Work[SubscriptionFacts]) -> tuple[Arrear, ...]:
    """Use beyond the plan that no invoice bills then. A change never makes it more than it is."""
    kept = _kept(work.effects)
    if not work.facts.usage or not any(isinstance(one, Do) for one in kept):
        return work.facts.usage
    await writer.write(connection, kept, work.facts.at, ENGINE.verbs)
    found = await usage_lines.OWED.all(connection, subscription_id=work.facts.subscription_id)
    return usage_lines.owed(found, work.rows)


def _kept(effects: Sequence[Effect]) -> list[Effect]:
    """The effects that the counting of use depends on: no money moves, nobody is told."""
    return [one for one in effects if _counts(one)]


def _counts(effect: Effect) -> bool:
    match effect:
        case Add(row):
            return isinstance(row, (*_INCLUDING, *_DRAFTED))
        case Change(row_type) | Remove(row_type):
            return row_type in _INCLUDING
        case Do(verb):
            return verb == _FOLLOWS
    return False

"""Subscriptions and trials that do nothing for long: a rebuild starts their runs asleep."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters.kinds import KINDS, SUBSCRIPTION, TRIAL
from billing.matters.schemas import LOOK, Planned
from billing.matters.tables import matters
from billing.money.subscriptions.tables import subscriptions
from billing.platform.accounts.tables import accounts


async def planned(
    connection: AsyncConnection, names: Sequence[str], beyond: datetime
) -> dict[str, Planned]:
    """Of the given matters, return those whose next step is after `beyond`.

    They have looked at their rows since they were woken, and are on real time.
    """
    found = await connection.execute(
        select(
            matters.c.workflow_id,
            func.coalesce(subscriptions.c.status, TRIAL.born_as).label("status"),
            subscriptions.c.plan_key.label("plan"),
            (matters.c.next_due - func.clock_timestamp()).label("asleep_for"),
        )
        .join(accounts, accounts.c.id == matters.c.account_id)
        .outerjoin(
            subscriptions,
            and_(matters.c.kind == SUBSCRIPTION.name, subscriptions.c.id == matters.c.subject_id),
        )
        .where(
            matters.c.workflow_id.in_(names),
            matters.c.kind.in_([kind.name for kind in KINDS.values() if kind.sleeps]),
            matters.c.status == "open",
            matters.c.closed_at.is_(None),
            matters.c.started_at.is_not(None),
            matters.c.next_due > beyond,
            matters.c.next_step != LOOK,
            accounts.c.clock_at.is_(None),
        )
    )
    return {row["workflow_id"]: Planned.model_validate(dict(row)) for row in found.mappings()}

"""Uses tried without recording them: written by the statements of the real ones, and rolled back.

A dry run leaves no record, event id or request for credits, and wakes nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from api.batching.held_uses import HOLDS_AT_ONCE
from api.batching.usage_batcher import RETRIED
from api.calls import Call
from api.requests.dry_runs import undone
from api.usage.card_usage import check_payer, of_each_account
from billing.catalog.rating.schemas import BY_CARD
from billing.core.database_errors import sqlstate_of
from billing.core.errors import BillingError
from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Recorded, Use
from billing.money.card_usage import service as card_usage

DryRun = Annotated[
    bool,
    Query(
        description="Answer what would be recorded, or refused, and why; nothing is written, no"
        " event id or key is used up, and no card is charged."
    ),
]
_BEGIN: Final = text("SAVEPOINT one_use")
_UNDO: Final = text("ROLLBACK TO SAVEPOINT one_use")


@dataclass
class _Trial:
    """Uses of one account; outcomes by place."""

    call: Call
    uses: Sequence[tuple[int, Use]]
    raises: bool = False
    """Raise a card error instead of returning its code."""

    async def outcomes(self) -> dict[int, Recorded]:
        """Return the outcome of each use, in the real order: by credits, by holds, by card; in the
        account's turn. Errors: RATE_LIMITED.
        """
        async with self.call.services.trial_turns.one(self.uses[0][1].account_id):
            try:
                return await self._once()
            except DBAPIError as error:
                if sqlstate_of(error) not in RETRIED:
                    raise
            return await self._once()

    async def _once(self) -> dict[int, Recorded]:
        found: dict[int, Recorded] = {}
        async with undone(self.call.database.tenant(self.uses[0][1].account_id)) as connection:
            await self._try(connection, found)
        return found

    async def _try(self, connection: AsyncConnection, found: dict[int, Recorded]) -> None:
        plain = [
            (place, use)
            for place, use in self.uses
            if use.hold_id is None and use.kind.method != BY_CARD
        ]
        held = [(place, use) for place, use in self.uses if use.hold_id is not None]
        if plain:
            uses = [use for _, use in plain]
            done = await sql_batch.record(connection, uses, [1] * len(uses))
            found.update((plain[place][0], one) for place, one in done.answers.items())
        for start in range(0, len(held), HOLDS_AT_ONCE):
            some = held[start : start + HOLDS_AT_ONCE]
            answers = await sql_batch.record_on_holds(connection, [use for _, use in some])
            found.update((some[place][0], one) for place, one in answers.items())
        for place, use in self.uses:
            if use.hold_id is None and use.kind.method == BY_CARD:
                found[place] = await self._try_card(connection, use)

    async def _try_card(self, connection: AsyncConnection, use: Use) -> Recorded:
        """Do everything but the charge: no card is contacted."""
        await connection.execute(_BEGIN)
        try:
            check_payer(self.call, use)
            return (await card_usage.record(connection, use))[0]
        except BillingError as refusal:
            if self.raises:
                raise
            await connection.execute(_UNDO)
            return Recorded(refusal.code, use.account_id)


async def attempt_one(call: Call, use: Use) -> Recorded:
    """Return the outcome the use would have now. Errors: those of a card that cannot pay it."""
    return (await _Trial(call, [(0, use)], raises=True).outcomes())[0]


async def attempt(call: Call, uses: Sequence[Use]) -> list[Recorded]:
    """Return the outcome each use would have now, each account's uses one after the other."""
    found = await of_each_account(uses, lambda own: _Trial(call, own).outcomes())
    return [found[place] for place in range(len(uses))]

"""Reads the row of a trial and the facts of its decision in one round trip."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.core.clock import real_now
from billing.core.errors import NotFound
from billing.core.money import ZERO
from billing.core.prepared import Prepared, last_of
from billing.ledger.credits import service as credits
from billing.ledger.credits import verbs
from billing.matters.deciding import Rules
from billing.matters.effects import Rows
from billing.money.trials import transitions
from billing.money.trials.rules import agenda
from billing.money.trials.schemas import Trial
from billing.money.trials.transitions import TrialFacts
from billing.platform.decisions.service import Engine, Read, now_facts

_LOCK = Prepared(
    text("SELECT 1 FROM credit_balances WHERE account_id = :account_id FOR NO KEY UPDATE")
)
_READ = Prepared(
    text(
        """
    SELECT t.*, a.clock_at,
           (SELECT l.remaining - l.held FROM credit_lots l
            WHERE l.grant_key = :grant_key AND l.is_open) AS free,
           (SELECT -sum(p.amount) FROM credit_lots l
            JOIN credit_transaction_lots p ON p.lot_id = l.id
            JOIN credit_transactions x ON x.id = p.transaction_id
            WHERE l.grant_key = :grant_key AND x.kind = 'expire') AS lost
    FROM trials t JOIN accounts a ON a.id = t.account_id
    WHERE t.account_id = :account_id AND t.kind = 'account_trial'
    """
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, TrialFacts]:
    """Read the account's trial of credits; the account's lock is its own (docs/architecture.md)."""
    named = {"account_id": wanted.subject_id}
    locks = [(_LOCK, named)] if wanted.locked else []
    values = named | {"grant_key": keys.trial_grant(wanted.subject_id)}
    found = await last_of(connection, *locks, (_READ, values))
    if not found:
        raise NotFound("TRIAL_NOT_FOUND")
    (row,) = found
    facts = TrialFacts(
        **now_facts(row["clock_at"], real_now()),
        new_id=ids.new,
        left=(row["free"] or ZERO) + (row["lost"] or ZERO),
    )
    return Rows([Trial.model_validate(row)]), facts


ENGINE = Engine(
    rules=Rules(
        view=lambda rows, facts: transitions.view(rows, facts.clock_at),
        agenda=agenda,
        transition=transitions.transition,
    ),
    read=read,
    verbs={verbs.EXPIRE_LOT: credits.expire_lot},
)

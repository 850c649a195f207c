"""The queries of a timeline: the account's open matters, and all rows about the past.

The past is steps, audit rows, card tries and credits, each a query of its own; the ledger's debits
have their own list.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Numeric,
    RowMapping,
    Select,
    Text,
    Uuid,
    column,
    func,
    not_,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids, keys
from billing.core.money import show_decimal
from billing.insight.timeline import descriptions
from billing.insight.timeline.rules import MAX_COMING
from billing.insight.timeline.schemas import (
    AccountSnapshot,
    Cause,
    DecidingSnapshot,
    Expiring,
    Happened,
    Outlook,
    PurchaseSnapshot,
    ReversalSnapshot,
    TrialSnapshot,
)
from billing.matters import sweeps
from billing.matters.effects import Rows
from billing.matters.kinds import ACCOUNT
from billing.matters.schemas import Matter
from billing.money.account_agenda import store as account_agenda
from billing.money.collecting import reading as collection_rows
from billing.money.collecting.collection import CollectionFacts
from billing.money.collecting.rules import AGAIN, CHOSEN
from billing.money.disputes.schemas import Dispute
from billing.money.invoices.arrears import NAMED_USE
from billing.money.invoices.schemas import Invoice
from billing.money.invoices.store import is_of_use
from billing.money.invoices.tables import invoices
from billing.money.payments.schemas import Payment
from billing.money.payments.tables import payments
from billing.money.purchases import reading as purchase_rows
from billing.money.purchases.schemas import Purchase
from billing.money.refunds.schemas import Refund
from billing.money.reversals import reading as reversal_rows
from billing.money.reversals.booking import subject_of
from billing.money.reversals.facts import ReversalFacts
from billing.money.subscriptions import reading as subscription_rows
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.trials import reading as trial_rows
from billing.platform.decisions.service import Read

MAX_MATTERS: Final = 50
"""Maximum of open matters that are projected; further ones are left out."""

# Of a held part, the later end counts: that of its lot, or that of its hold.
_EXPIRING: Final = text(
    """
    SELECT l.kind || ' credits' AS name, l.remaining - coalesce(beyond.held, 0) AS credits,
           l.expires_at, l.grant_key, l.kept_from, l.cycle_end, coalesce((
               SELECT (t.detail ->> 'rollover_cap')::numeric FROM credit_transactions t
               WHERE t.key = l.grant_key AND l.kept_from IS NOT NULL), 0) AS cap,
           false AS is_freed
    FROM credit_lots l
    LEFT JOIN (
        SELECT k.lot_id, sum(k.amount) AS held
        FROM credit_holds h
        JOIN credit_hold_lots k ON k.hold_id = h.id
        JOIN credit_lots o ON o.id = k.lot_id AND o.expires_at < h.expires_at
        WHERE h.account_id = :account_id AND h.status = 'open' AND h.expires_at > (
            SELECT min(expires_at) FROM credit_lots
            WHERE account_id = :account_id AND is_open AND held > 0)
        GROUP BY k.lot_id) beyond ON beyond.lot_id = l.id
    WHERE l.account_id = :account_id AND l.is_open AND l.expires_at IS NOT NULL
      AND l.remaining > coalesce(beyond.held, 0)
    UNION ALL
    SELECT 'held credits', sum(k.amount), h.expires_at, NULL, NULL, NULL, 0, own.is_freed
    FROM (
        SELECT id, expires_at FROM credit_holds
        WHERE account_id = :account_id AND status = 'open'
          AND (CAST(:maker AS text) IS NULL OR made_by = :maker)
        ORDER BY expires_at LIMIT :most) h
    JOIN credit_hold_lots k ON k.hold_id = h.id
    JOIN credit_lots l ON l.id = k.lot_id
    CROSS JOIN LATERAL (
        SELECT l.expires_at IS NULL OR l.expires_at >= h.expires_at AS is_freed) own
    GROUP BY h.id, h.expires_at, own.is_freed
    ORDER BY expires_at
    """
)

_GRANTED: Final = text(
    "SELECT grant_key FROM credit_lots"
    " WHERE account_id = :account_id AND kind = 'plan' AND expires_at > :now"
)

_INSTANTS: Final = ("at", "real_at", "due_at")
_TEXTS: Final = (
    "mark", "source", "name", "subject", "workflow_id", "actor", "trigger", "result", "currency",
    "card", "reason", "correlation_id", "event_id", "event_type",
)  # fmt: skip
_COLUMNS: Final = (
    "at", "real_at", "mark", "source", "name", "subject", "workflow_id", "actor", "trigger",
    "due_at", "result", "detail", "amount_minor", "currency", "card", "reason", "credits",
    "correlation_id", "event_id", "event_type", "deliveries",
)  # fmt: skip
# Each is read in its order by an index on account and time; what always has its other row is joined
# to it by an outer join, which costs a count nothing. A charge is shown once, as its card's try.
_PAST: Final = (
    """
SELECT s.ran_at, s.real_ran_at, 'step/' || s.key, 'step', s.name, s.workflow_id, s.workflow_id,
       NULL, NULL, s.due_at, s.result, NULL::jsonb, NULL::bigint, NULL, NULL, NULL, NULL::numeric,
       NULL, e.stripe_event_id, e.type, e.deliveries
FROM steps s
LEFT JOIN stripe_webhook_events e ON e.stripe_event_id = s.event_id
WHERE s.account_id = :account_id
  AND NOT EXISTS (SELECT 1 FROM payment_attempts t WHERE t.key = s.key)
""",
    """
SELECT b.at, b.real_at, 'change/' || lpad(b.id::text, 20, '0'), 'change', b.action, b.subject,
       NULL, b.actor, NULL, NULL::timestamptz, NULL, b.detail, NULL::bigint, NULL, NULL, NULL,
       NULL::numeric, b.correlation_id, NULL, NULL, NULL::integer
FROM billing_audit b
WHERE b.account_id = :account_id
""",
    """
SELECT t.started_at, t.real_started_at, 'payment/' || t.key, 'payment', 'charge',
       public_id('inv', i.id), coalesce(s.workflow_id, i.workflow_id), NULL,
       CASE WHEN t.key LIKE :again THEN 'provider_down'
            WHEN t.slot IS NOT NULL THEN NULL
            WHEN split_part(t.key, :chosen, 1)
                 = public_id('inv', i.id) || '/card-' || public_id('mth', m.id)
            THEN 'new_card' ELSE 'asked' END,
       s.due_at, t.status, NULL::jsonb,
       coalesce(p.amount_minor, (t.detail ->> 'amount_minor')::bigint), i.currency,
       CASE WHEN m.last4 IS NULL THEN NULL ELSE concat_ws(' ', m.brand, m.last4) END,
       t.decline_code, NULL::numeric, NULL, NULL, NULL, NULL::integer
FROM payment_attempts t
LEFT JOIN invoices i ON i.id = t.invoice_id
LEFT JOIN payments p ON p.id = t.payment_id
LEFT JOIN payment_methods m ON m.id = t.payment_method_id
LEFT JOIN steps s ON s.key = t.key
WHERE t.account_id = :account_id
""",
    """
SELECT l.created_at, x.real_at, 'credits/' || l.grant_key, 'credits', 'arrived',
       public_id('lot', l.id), NULL, NULL, NULL, NULL::timestamptz, x.reason, NULL::jsonb,
       NULL::bigint, NULL, NULL, NULL, l.amount, NULL, NULL, NULL, NULL::integer
FROM credit_lots l LEFT JOIN credit_transactions x ON x.key = l.grant_key
WHERE l.account_id = :account_id
""",
    """
SELECT x.at, x.real_at, 'credits/' || x.key, 'credits', 'expired', x.subject, NULL, NULL, NULL,
       NULL::timestamptz, x.reason, NULL::jsonb, NULL::bigint, NULL, NULL, NULL, -x.amount, NULL,
       NULL, NULL, NULL::integer
FROM credit_transactions x
WHERE x.account_id = :account_id AND x.kind = 'expire'
""",
)
_MONEY: Final = f"(?:{ids.INVOICE}|{ids.PAYMENT})_[0-9a-z]{{26}}"


def past(
    account_id: UUID, *, for_member: bool = False
) -> list[tuple[Select[Any], tuple[ColumnElement[Any], ...]]]:
    """Return the queries of everything that happened to the account, each with its sort columns.

    The order is the account's own time, then real time: a frozen clock may stand still. A member
    gets no entry that names a single use, its invoice or its payment, because the use may be
    another user's.
    """
    parts = [_part(rows, account_id) for rows in _PAST]
    if not for_member:
        return parts
    return [(_without_uses(query), keys) for query, keys in parts]


def _part(rows: str, account_id: UUID) -> tuple[Select[Any], tuple[ColumnElement[Any], ...]]:
    asked = {"account_id": account_id, "again": f"%{AGAIN}%", "chosen": CHOSEN}
    part = (
        text(f"SELECT * FROM ({rows}) AS part ({', '.join(_COLUMNS)})")  # noqa: S608
        .bindparams(**{name: value for name, value in asked.items() if f":{name}" in rows})
        .columns(
            *(column(name, DateTime(timezone=True)) for name in _INSTANTS),
            *(column(name, Text) for name in _TEXTS),
            column("detail", JSONB),
            column("amount_minor", BigInteger),
            column("credits", Numeric),
            column("deliveries", Integer),
        )
        .subquery()
    )
    return select(part).select_from(part), (part.c.at, part.c.real_at, part.c.mark)


def _without_uses(query: Select[Any]) -> Select[Any]:
    """Leave out what names a use, or the invoice or payment of a single one."""
    shown = query.selected_columns
    named = func.concat_ws(" ", *(shown[name] for name in _TEXTS), shown["detail"])
    found = func.regexp_matches(named, _MONEY, "g", type_=ARRAY(Text)).column_valued("found")
    # OFFSET 0: each is read first, and then looked up by its key, not among all of the account.
    money = select(func.public_uuid(found[1], type_=Uuid).label("id")).offset(0).subquery("money")
    paid = select(payments.c.id).where(
        payments.c.id == money.c.id, payments.c.invoice_id == invoices.c.id, is_of_use()
    )
    billed = select(invoices.c.id).where(invoices.c.id == money.c.id, is_of_use())
    known = or_(*(one.offset(0).exists() for one in (billed, paid)))
    of_use = select(money.c.id).where(known).exists()
    return query.where(not_(named.regexp_match(NAMED_USE)), ~of_use)


def show(row: RowMapping, *, for_member: bool = False) -> Happened:
    """Return a row of `past` as an entry; a member reads actors' roles without their names."""
    amount_minor, currency = row["amount_minor"], row["currency"]
    match row["source"]:
        case "step":
            event = (row["event_id"], row["event_type"], row["deliveries"])
            said = descriptions.step_words(row["name"], row["result"])
            cause = descriptions.step_cause(
                row["workflow_id"], row["due_at"], event=event if event[0] else None
            )
        case "payment":
            said = descriptions.attempt_words(
                row["result"], amount_minor, currency, row["card"], row["reason"]
            )
            cause = descriptions.step_cause(
                row["workflow_id"], row["due_at"], trigger=row["trigger"]
            )
        case "change":
            said = descriptions.change_words(row["name"], row["detail"])
            amount_minor, currency = descriptions.change_money(row["detail"])
            actor = descriptions.role_of(row["actor"]) if for_member else row["actor"]
            cause = descriptions.change_cause(actor, row["correlation_id"])
        case _:
            said = f"{show_decimal(row['credits'])} credits {row['name']}"
            cause = Cause(words=row["result"] or "")
    return Happened(
        at=row["at"],
        real_at=row["real_at"],
        source=row["source"],
        name=row["name"],
        subject=row["subject"],
        words=said,
        amount_minor=amount_minor,
        currency=currency,
        credits=row["credits"],
        cause=cause,
    )


async def outlook(
    connection: AsyncConnection,
    account_id: UUID,
    *,
    maker: str | None = None,
) -> Outlook:
    """Return the input of the account's projection, from the caller's snapshot. With `maker`, a
    member, only this caller's holds are included, and no single use.
    """
    open_matters = await sweeps.open_page(connection, "", MAX_MATTERS, account_id)
    kinds: dict[str, list[Matter]] = {}
    for matter in open_matters:
        kinds.setdefault(matter.kind, []).append(matter)
    now = await clock.now(connection, account_id)
    # More holds than entries are never shown: each is an entry of its own, or two.
    known = {"account_id": account_id, "maker": maker, "most": MAX_COMING}
    expiring = await connection.execute(_EXPIRING, known)
    granted = await connection.scalars(_GRANTED, {"account_id": account_id, "now": now})
    return Outlook(
        account_id=account_id,
        now=now,
        subscriptions=tuple(
            [await _subscription(connection, matter) for matter in kinds.get("subscription", ())]
        ),
        collections=tuple(
            [await _collection(connection, matter) for matter in kinds.get("collection", ())]
        ),
        purchases=tuple(
            [await _purchase(connection, matter) for matter in kinds.get("purchase", ())]
        ),
        trials=tuple([await _trial(connection, matter) for matter in kinds.get("trial", ())]),
        reversals=await _reversals(
            connection, kinds.get("reversal", ()), for_member=maker is not None
        ),
        account=await _account(connection, account_id, for_member=maker is not None),
        expiring=tuple(Expiring.model_validate(dict(row)) for row in expiring.mappings()),
        granted=frozenset(granted),
    )


async def _subscription(
    connection: AsyncConnection, matter: Matter
) -> DecidingSnapshot[SubscriptionFacts]:
    wanted = Read(matter.subject_id, deciding=True, locked=False)
    rows, facts = await subscription_rows.read(connection, wanted)
    return DecidingSnapshot(matter.workflow_id, rows, facts)


async def _collection(
    connection: AsyncConnection, matter: Matter
) -> DecidingSnapshot[CollectionFacts]:
    rows, facts = await collection_rows.read(connection, Read(matter.subject_id, locked=False))
    return DecidingSnapshot(matter.workflow_id, rows, facts)


async def _purchase(connection: AsyncConnection, matter: Matter) -> PurchaseSnapshot:
    rows, facts = await purchase_rows.read(connection, Read(matter.subject_id, locked=False))
    purchase = rows.get(Purchase, matter.subject_id)
    return PurchaseSnapshot(
        workflow_id=matter.workflow_id,
        state=purchase_rows.ENGINE.rules.view(rows, facts),
        pack=purchase.pack_name,
        credits=purchase.credits,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
    )


async def _trial(connection: AsyncConnection, matter: Matter) -> TrialSnapshot:
    rows, facts = await trial_rows.read(connection, Read(matter.subject_id, locked=False))
    return TrialSnapshot(
        workflow_id=matter.workflow_id,
        state=trial_rows.ENGINE.rules.view(rows, facts),
        grant_key=keys.trial_grant(matter.account_id),
    )


async def _reversals(
    connection: AsyncConnection, matters: Iterable[Matter], *, for_member: bool
) -> tuple[ReversalSnapshot, ...]:
    found = []
    for matter in matters:
        rows, facts = await reversal_rows.read(connection, Read(matter.subject_id, locked=False))
        paid = rows.get(Invoice, rows.get(Payment, matter.subject_id).invoice_id)
        if not (for_member and paid.is_of_use):
            found.append(_reversal(matter, rows, facts))
    return tuple(found)


def _reversal(matter: Matter, rows: Rows, facts: ReversalFacts) -> ReversalSnapshot:
    state = reversal_rows.ENGINE.rules.view(rows, facts)
    dispute = state.dispute.dispute if state.dispute is not None else None
    asked = next((one for one in rows.of(Dispute) if subject_of(one) == dispute), None)
    return ReversalSnapshot(
        workflow_id=matter.workflow_id,
        state=state,
        currency=rows.get(Payment, matter.subject_id).currency,
        refunds={one.key: one.amount_minor for one in rows.of(Refund) if not one.is_finished},
        dispute_minor=asked.amount_minor if asked is not None else None,
        dispute_currency=asked.currency if asked is not None else None,
    )


async def _account(
    connection: AsyncConnection, account_id: UUID, *, for_member: bool
) -> AccountSnapshot:
    """Return the account's own matter; it may not exist yet, but may begin in the projection."""
    # Any notice will do: the projection leaves the notices out.
    state = await account_agenda.state(connection, account_id, timedelta())
    if for_member:
        state = state.model_copy(update={"unpaid_charge": None})
    return AccountSnapshot(workflow_id=ACCOUNT.workflow_id(account_id), state=state)

"""What a timeline is read from: the account's open matters, and all rows that say what happened.

The past is one union of steps, audit rows, card tries and credits; the ledger's debits have a
list of their own.
"""

from collections.abc import Iterable
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
    column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts import store as accounts
from billing.catalog import store as catalog
from billing.core import clock, ids, keys, lookout
from billing.core.errors import NotFound
from billing.core.matters import Matter
from billing.core.money import show_decimal, show_money
from billing.dunning import store as dunning
from billing.dunning.rules import Collecting, Policy
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import methods
from billing.purchases import store as purchases
from billing.subscriptions import store as subscriptions
from billing.timeline import words
from billing.timeline.schemas import (
    AccountPicture,
    Cause,
    CollectionPicture,
    Happened,
    Lapsing,
    Outlook,
    Owed,
    PurchasePicture,
    SubscriptionPicture,
    Terms,
    TrialPicture,
)
from billing.trials import store as trials
from billing.usage import closing

MAX_MATTERS: Final = 50
"""Open matters whose future is shown; an account with more of them sees the first."""

_LAPSING: Final = text(
    """
    SELECT kind || ' credits' AS name, remaining - held AS credits, expires_at, grant_key
    FROM credit_lots
    WHERE account_id = :account_id AND is_open AND expires_at IS NOT NULL AND remaining > held
    UNION ALL
    SELECT 'held credits', amount, expires_at, NULL
    FROM credit_holds WHERE account_id = :account_id AND status = 'open'
    ORDER BY expires_at
    """
)

# Each branch is found by the account's own index; a charge shows once, as the try of its card.
# The step that looks into an event is named by it, and by how often an operator replayed it.
_PAST: Final = """
SELECT s.ran_at AS at, s.real_ran_at AS real_at, 'step/' || s.key AS mark, 'step' AS source,
       s.name AS name, s.workflow_id AS subject, s.workflow_id AS workflow_id,
       NULL AS actor, s.key AS key, s.due_at AS due_at, s.result AS result,
       NULL::jsonb AS detail, NULL::bigint AS amount_minor, NULL AS currency, NULL AS card,
       NULL AS reason, NULL::numeric AS credits, NULL AS correlation_id,
       e.stripe_event_id AS event_id, e.type AS event_type, e.deliveries AS deliveries
FROM steps s
LEFT JOIN stripe_webhook_events e
       ON s.name = 'check'
      AND e.stripe_event_id = split_part(split_part(s.key, '/', 2), '.', 1)
WHERE s.account_id = :account_id
  AND NOT EXISTS (SELECT 1 FROM payment_attempts t WHERE t.key = s.key)
UNION ALL
SELECT b.at, b.real_at, 'change/' || lpad(b.id::text, 20, '0'), 'change', b.action, b.subject,
       NULL, b.actor, NULL, NULL, NULL, b.detail, NULL, NULL, NULL, NULL, NULL, b.correlation_id,
       NULL, NULL, NULL
FROM billing_audit b
WHERE b.account_id = :account_id
UNION ALL
SELECT t.started_at, t.real_started_at, 'payment/' || t.key, 'payment', 'charge',
       public_id('inv', i.id), s.workflow_id, NULL, t.key, s.due_at, t.status, NULL,
       coalesce(p.amount_minor, i.amount_due_minor - i.amount_paid_minor), i.currency,
       CASE WHEN m.last4 IS NULL THEN NULL ELSE concat_ws(' ', m.brand, m.last4) END,
       t.decline_code, NULL, NULL, NULL, NULL, NULL
FROM invoices i
JOIN payment_attempts t ON t.invoice_id = i.id
LEFT JOIN payments p ON p.id = t.payment_id
LEFT JOIN payment_methods m ON m.id = t.payment_method_id
LEFT JOIN steps s ON s.key = t.key
WHERE i.account_id = :account_id
UNION ALL
SELECT l.created_at, x.real_at, 'credits/' || l.grant_key, 'credits', 'arrived',
       public_id('lot', l.id), NULL, NULL, l.grant_key, NULL, x.reason, NULL, NULL, NULL, NULL,
       NULL, l.amount, NULL, NULL, NULL, NULL
FROM credit_lots l JOIN credit_transactions x ON x.key = l.grant_key
WHERE l.account_id = :account_id
UNION ALL
SELECT v.occurred_at, v.created_at, 'credits/' || v.id, 'credits', 'lapsed',
       v.data ->> 'lot_id', NULL, NULL, NULL, NULL, v.data ->> 'reason', NULL, NULL, NULL, NULL,
       NULL, (v.data ->> 'credits')::numeric, NULL, NULL, NULL, NULL
FROM events v
WHERE v.account_id = :account_id AND v.type = 'evt.billing.credits.expired'
"""
_INSTANTS: Final = ("at", "real_at", "due_at")
_TEXTS: Final = (
    "mark", "source", "name", "subject", "workflow_id", "actor", "key", "result", "currency",
    "card", "reason", "correlation_id", "event_id", "event_type",
)  # fmt: skip


def past(account_id: UUID) -> tuple[Select[Any], tuple[ColumnElement[Any], ...]]:
    """Everything that happened to the account, and the columns to order it by.

    The order is the account's own time, then real time: a frozen clock stands still meanwhile.
    """
    rows = (
        text(_PAST)
        .bindparams(account_id=account_id)
        .columns(
            *(column(name, DateTime(timezone=True)) for name in _INSTANTS),
            *(column(name, Text) for name in _TEXTS),
            column("detail", JSONB),
            column("amount_minor", BigInteger),
            column("credits", Numeric),
            column("deliveries", Integer),
        )
        .subquery("past")
    )
    return select(rows).select_from(rows), (rows.c.at, rows.c.real_at, rows.c.mark)


def show(row: RowMapping) -> Happened:
    """A row of `past` as a person reads it."""
    amount_minor, currency = row["amount_minor"], row["currency"]
    match row["source"]:
        case "step":
            told = (row["event_id"], row["event_type"], row["deliveries"])
            said = words.step_words(row["name"], row["result"])
            cause = words.step_cause(
                row["key"], row["workflow_id"], row["due_at"], told if told[0] else None
            )
        case "payment":
            said = words.attempt_words(
                row["result"], amount_minor, currency, row["card"], row["reason"]
            )
            cause = words.step_cause(row["key"], row["workflow_id"], row["due_at"], None)
        case "change":
            said = words.change_words(row["name"], row["detail"])
            amount_minor, currency = words.change_money(row["detail"])
            cause = words.change_cause(row["actor"], row["correlation_id"])
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
    connection: AsyncConnection, account_id: UUID, *, credits_at_start: bool
) -> Outlook:
    """All that the account's future is computed from, in the caller's snapshot."""
    open_matters = await lookout.open_page(connection, "", MAX_MATTERS, account_id)
    kinds: dict[str, list[Matter]] = {}
    for matter in open_matters:
        kinds.setdefault(matter.kind, []).append(matter)
    lapsing = await connection.execute(_LAPSING, {"account_id": account_id})
    return Outlook(
        account_id=account_id,
        now=await clock.now(connection, account_id),
        subscriptions=tuple(
            [
                await _subscription(connection, matter, credits_at_start=credits_at_start)
                for matter in kinds.get("subscription", ())
            ]
        ),
        collections=tuple(
            [await _collection(connection, matter) for matter in kinds.get("collection", ())]
        ),
        purchases=tuple(
            [await _purchase(connection, matter) for matter in kinds.get("purchase", ())]
        ),
        trials=tuple([await _trial(connection, matter) for matter in kinds.get("trial", ())]),
        account=await _account(connection, kinds.get("account", ())),
        lapsing=tuple(Lapsing.model_validate(dict(row)) for row in lapsing.mappings()),
    )


async def _subscription(
    connection: AsyncConnection, matter: Matter, *, credits_at_start: bool
) -> SubscriptionPicture:
    subscription = await subscriptions.get(connection, matter.subject_id)
    plan = await catalog.get_plan(connection, subscription.plan_id)
    if plan is None:
        raise NotFound("PLAN_NOT_FOUND", "the plan version is gone")
    items = await subscriptions.items(connection, subscription.id)
    state = await subscriptions.state(connection, subscription.id)
    return SubscriptionPicture(
        workflow_id=matter.workflow_id,
        state=state,
        terms=Terms(
            plan=plan.name,
            amount_minor=sum(item.amount_minor * item.lasting for item in items),
            currency=subscription.currency,
            zone=subscription.zone,
            anchor_wall=subscription.anchor_wall,
            interval=subscription.interval,
            period_number=subscription.period_number,
            allowance=plan.allowance,
            monthly_credits=plan.monthly_credits,
            policy=Policy.model_validate(plan.dunning.model_dump()),
            trial_end_behavior=subscription.trial_end_behavior,
            card=await _card(connection, matter.account_id),
            money_balance_minor=await invoices.money_balance(
                connection, matter.account_id, subscription.currency
            ),
            credits_at_start=credits_at_start,
            usage_minor=sum(
                line.amount_minor
                for line in await closing.lines(connection, matter.account_id, subscription.id)
            ),
        ),
        owed=await _owed(connection, state.invoices),
    )


async def _collection(connection: AsyncConnection, matter: Matter) -> CollectionPicture:
    invoice = await invoices.get(connection, matter.subject_id)
    account = await accounts.get(connection, matter.account_id)
    state = await dunning.collection(connection, matter.subject_id)
    return CollectionPicture(
        workflow_id=matter.workflow_id,
        state=state,
        zone=account.zone if account else "UTC",
        currency=invoice.currency,
        card=await _card(connection, matter.account_id),
        owed=await _owed(connection, [state.invoice]),
    )


async def _purchase(connection: AsyncConnection, matter: Matter) -> PurchasePicture:
    purchase = await purchases.get(connection, matter.subject_id)
    return PurchasePicture(
        workflow_id=matter.workflow_id,
        state=await purchases.state(connection, matter.subject_id),
        pack=purchase.pack_name,
        credits=purchase.credits,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
    )


async def _trial(connection: AsyncConnection, matter: Matter) -> TrialPicture:
    return TrialPicture(
        workflow_id=matter.workflow_id,
        state=await trials.state(connection, matter.subject_id),
        grant_key=keys.trial_grant(matter.account_id),
    )


async def _account(
    connection: AsyncConnection, found: list[Matter] | tuple[Matter, ...]
) -> AccountPicture | None:
    if not found:
        return None
    state = await accounts.state(connection, found[0].subject_id)
    return AccountPicture(workflow_id=found[0].workflow_id, state=state)


async def _owed(
    connection: AsyncConnection, collecting: Iterable[Collecting | None]
) -> dict[str, Owed]:
    """What each invoice that is being collected still brings."""
    found = [
        await invoices.get(connection, ids.decode(ids.INVOICE, one.invoice))
        for one in collecting
        if one is not None
    ]
    return {ids.encode(ids.INVOICE, invoice.id): _owing(invoice) for invoice in found}


def _owing(invoice: Invoice) -> Owed:
    cycle = None
    if invoice.cycle_start is not None and invoice.cycle_end is not None:
        cycle = (invoice.cycle_start, invoice.cycle_end)
    return Owed(
        label=invoice.number or f"a draft of {show_money(invoice.total_minor, invoice.currency)}",
        remaining_minor=invoice.remaining_minor,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        cycle=cycle,
    )


async def _card(connection: AsyncConnection, account_id: UUID) -> str | None:
    """The card that charges use, unless its bank barred it."""
    method = await methods.default(connection, account_id)
    if method is None or method.barred_at is not None:
        return None
    return f"{method.brand or method.kind} {method.last4 or ''}".strip()

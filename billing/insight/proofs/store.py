"""The facts behind a proof, read in one snapshot of the rows."""

from hashlib import sha256
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.core.frozen import Frozen
from billing.insight.proofs.schemas import (
    AttemptFact,
    GrantFact,
    InvoiceFact,
    MatterFact,
    PaymentFact,
    ProofFacts,
    RequestFact,
    StepFact,
    WebhookFact,
)
from billing.matters.kinds import PURCHASE
from billing.money.payments.rules import NOT_ASKED
from billing.money.purchases import store as purchases
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.schemas import Purchase
from billing.platform.provider_inbox.rules import AT_ONCE

F = TypeVar("F", bound=Frozen)
_REQUEST: Final = text(
    """
    SELECT
        (SELECT actor FROM billing_audit
         WHERE subject = :subject AND action = 'purchase.created' ORDER BY id LIMIT 1) AS actor,
        (SELECT real_at FROM billing_audit
         WHERE subject = :subject AND action = 'purchase.created' ORDER BY id LIMIT 1) AS real_at,
        k.key, k.route
    FROM (SELECT 1) AS one
    LEFT JOIN billing_idempotency k
           ON k.scope = CAST(:account_id AS text) AND k.resource_id = :purchase_id
    """
)
_MATTER: Final = text(
    """
    SELECT workflow_id, status, started_at IS NOT NULL AS started, closed_at
    FROM matters WHERE workflow_id = :workflow_id
    """
)
_STEPS: Final = text(
    "SELECT * FROM steps WHERE workflow_id = :workflow_id ORDER BY real_ran_at, key"
)
_PAYMENTS: Final = text(
    """
    SELECT p.id AS payment_id, p.flow, p.status, p.stripe_payment_intent_id AS provider_intent,
           p.stripe_checkout_session_id AS provider_session, p.stripe_charge_id AS provider_charge,
           p.amount_minor, p.received_minor, p.currency, p.created_at, p.paid_at,
           p.settled_at AS booked_at
    FROM invoices i JOIN payments p ON p.invoice_id = i.id
    WHERE i.workflow_id = :workflow_id ORDER BY p.created_at, p.id
    """
)
_ATTEMPTS: Final = text(
    """
    SELECT a.payment_id, a.key, a.status, a.decline_code, a.started_at, a.finished_at
    FROM invoices i JOIN payment_attempts a ON a.invoice_id = i.id
    WHERE i.workflow_id = :workflow_id ORDER BY a.real_started_at, a.id
    """
)
# By object for events received before their owner was known, by owner for all others.
_WEBHOOKS: Final = text(
    """
    SELECT stripe_event_id AS event_id, type, status, deliveries, source,
           received_at AS real_received_at, dispatched_at AS real_handled_at
    FROM stripe_webhook_events
    WHERE (account_id = :account_id AND workflow_id = :workflow_id)
       OR object_id = ANY(CAST(:objects AS text[]))
    ORDER BY received_at, stripe_event_id
    """
)
_INVOICES: Final = text(
    """
    SELECT id AS invoice_id, number, status, total_minor, amount_due_minor, amount_paid_minor,
           currency, paid_at
    FROM invoices WHERE workflow_id = :workflow_id ORDER BY created_at, id
    """
)
# Every lot that names the purchase, not only the one with its key, so that a second is found.
_GRANTS: Final = text(
    """
    SELECT l.id AS lot_id, t.id AS transaction_id, l.grant_key AS key, l.amount AS credits,
           t.amount AS booked, l.created_at AS granted_at, t.real_at AS real_granted_at
    FROM credit_lots l LEFT JOIN credit_transactions t ON t.key = l.grant_key
    WHERE l.account_id = :account_id AND l.kind = 'purchase' AND l.grant_key IN (
        SELECT CAST(:grant_key AS text)
        UNION SELECT key FROM credit_transactions
        WHERE account_id = :account_id AND subject = :subject AND kind = 'grant')
    ORDER BY l.granted_seq
    """
)
_KEPT: Final = text(
    """
    SELECT coalesce(sum(b.amount_minor), 0) FROM invoices i
    JOIN balance_entries b ON b.account_id = i.account_id AND b.invoice_id = i.id
    WHERE i.workflow_id = :workflow_id AND b.kind IN ('overpaid', 'unasked')
    """
)
# Old events are deleted, but not the audit row written in the same statement.
_PUBLISHED: Final = text(
    """
    SELECT (SELECT count(*) FROM events
            WHERE account_id = :account_id AND type = 'evt.billing.credits.purchased'
              AND data ->> 'purchase_id' = :subject)
         + (SELECT count(*) FROM billing_audit t JOIN dropped_events d USING (account_id)
            WHERE t.account_id = :account_id AND t.subject = :subject
              AND t.action = 'purchase.completed' AND t.real_at <= d.at
              AND NOT EXISTS (SELECT FROM events e
                              WHERE e.account_id = t.account_id AND e.created_at = t.real_at
                                AND e.data ->> 'purchase_id' = t.subject))
    """
)


async def facts(connection: AsyncConnection, purchase_id: UUID) -> ProofFacts:
    """Return all facts about one purchase. Errors: PURCHASE_NOT_FOUND."""
    purchase = await purchases.get(connection, purchase_id)
    named = _names(purchase)
    payments = await _payments(connection, named)
    objects = [
        name
        for payment in payments
        for name in (payment.provider_intent, payment.provider_session, payment.provider_charge)
        if name is not None
    ]
    matter = await _read(connection, _MATTER, named, MatterFact)
    steps = tuple([_step(row) for row in await _rows(connection, _STEPS, named)])
    return ProofFacts(
        **purchase.model_dump(
            include={"status", "pack", "credits", "amount_minor", "currency", "completed_at"}
        ),
        purchase_id=purchase.id,
        grant_key=named["grant_key"],
        invoice_id=purchase.invoice_id,
        request=await _request(connection, purchase, named),
        matter=matter[0] if matter else None,
        steps=steps,
        payments=payments,
        webhooks=await _read(connection, _WEBHOOKS, named | {"objects": objects}, WebhookFact),
        invoices=await _read(connection, _INVOICES, named, InvoiceFact),
        grants=await _read(connection, _GRANTS, named, GrantFact),
        kept_minor=int(await connection.scalar(_KEPT, named) or 0),
        asked_at=max((one.real_ran_at for one in steps if _asks(one)), default=None),
        published=int(await connection.scalar(_PUBLISHED, named) or 0),
    )


def _names(purchase: Purchase) -> dict[str, Any]:
    return {
        "account_id": purchase.account_id,
        "purchase_id": purchase.id,
        "subject": ids.encode(ids.PURCHASE, purchase.id),
        "workflow_id": PURCHASE.workflow_id(purchase.id),
        "grant_key": keys.purchase_grant(purchase.id),
    }


async def _rows(
    connection: AsyncConnection, query: TextClause, named: dict[str, Any]
) -> list[RowMapping]:
    wanted = {name: named[name] for name in query._bindparams if name in named}  # noqa: SLF001
    return list((await connection.execute(query, wanted)).mappings())


async def _read(
    connection: AsyncConnection, query: TextClause, named: dict[str, Any], fact: type[F]
) -> tuple[F, ...]:
    rows = await _rows(connection, query, named)
    return tuple(fact.model_validate(dict(row)) for row in rows)


async def _request(
    connection: AsyncConnection, purchase: Purchase, named: dict[str, Any]
) -> RequestFact:
    row = (await _rows(connection, _REQUEST, named))[0]
    return RequestFact(
        actor=row["actor"],
        correlation_id=purchase.correlation_id,
        asked_at=purchase.created_at,
        real_asked_at=row["real_at"],
        idempotency_key_hash=sha256(row["key"].encode()).hexdigest() if row["key"] else None,
        route=row["route"],
    )


async def _payments(connection: AsyncConnection, named: dict[str, Any]) -> tuple[PaymentFact, ...]:
    attempts = await _rows(connection, _ATTEMPTS, named)
    return tuple(
        PaymentFact(
            **row,
            attempts=tuple(
                AttemptFact.model_validate(dict(attempt))
                for attempt in attempts
                if attempt["payment_id"] == row["payment_id"]
            ),
        )
        for row in await _rows(connection, _PAYMENTS, named)
    )


def _asks(step: StepFact) -> bool:
    """Return True if the step queried the provider and got an answer."""
    return step.name in ENGINE.asking and step.result != NOT_ASKED


def _step(row: RowMapping) -> StepFact:
    due_at = row["due_at"] if row["due_at"] > AT_ONCE else None
    return StepFact.model_validate({**row, "due_at": due_at})

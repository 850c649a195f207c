"""Owners of provider events: found by the payment, else by the metadata we set.

Stores each event with its owner: only this module knows what an event's object means to us.
`provider_inbox/store.py` has the other queries on the inbox.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared
from billing.matters import store as matters
from billing.matters.kinds import KINDS, REVERSAL
from billing.matters.schemas import Matter
from billing.money.payments import store
from billing.money.payments.reading import ABOUT
from billing.platform.provider_inbox import paypal
from billing.platform.provider_inbox.rules import ASKED_FOR
from billing.platform.provider_inbox.schemas import ProviderEvent, Waiting
from billing.platform.provider_inbox.tables import stripe_webhook_events as inbox
from billing.platform.provider_inbox.webhooks import (
    CARD_ADDED,
    DEFAULT_CHOSEN,
    PAYMENT_EVENTS,
    REVERSAL_EVENTS,
    is_news,
    read,
)

ACTED_ON: Final = PAYMENT_EVENTS | paypal.EVENTS
"""Event types that a matter acts on."""
_REVERSALS: Final = REVERSAL_EVENTS | paypal.REVERSALS

_KINDS_WITH_EVENTS: Final = ", ".join(
    f"'{kind.name}'" for kind in KINDS.values() if kind.handles_events
)
# The matter named in an object's metadata, if its kind handles events and the customer matches.
_NAMED_MATTER: Final = f"""
    SELECT m.workflow_id FROM matters m JOIN accounts a ON a.id = m.account_id
    WHERE m.workflow_id = {{matter}}
      AND m.kind IN ({_KINDS_WITH_EVENTS})
      AND ({{customer}} IS NULL OR a.stripe_customer_id = {{customer}})
"""  # noqa: S608 - put together from constants
_FIND_NAMED_MATTER: Final = Prepared(
    text(_NAMED_MATTER.format(matter=":matter", customer="CAST(:customer AS text)"))
)
# Many events in one statement. The owner is the matter that now collects the payment's invoice,
# else the one we wrote into the object's metadata, else the account of a stored card (cards carry
# no metadata of ours). An added or chosen card has an owner only if its customer has visited the
# portal: any other was given to a payment or setup of ours, which keeps it. A card that is not
# stored here and a setup that Stripe's own pages made are foreign: no later search finds them an
# owner. An event about a refund or dispute belongs to the payment's reversal; one about money
# already booked adds nothing. While a try of ours is under way nobody is woken: the try reports its
# result, or the sweeper if the try dies. That of a halted matter is not under way. Rows are taken
# in order of their ids, so batches cannot deadlock. An event is received at the database's time:
# a look covers what came before it, and another process's clock may differ.
_RECEIVE = Prepared(
    text(
        f"""
    WITH input AS (
        SELECT DISTINCT ON (event_id) *, count(*) OVER (PARTITION BY event_id) AS copies
        FROM jsonb_to_recordset(:rows) AS r(event_id text, type text, object text, intent text,
             matter text, customer text, added_to text, payload jsonb, relevant boolean,
             reversal boolean, foreign_card boolean, created_at timestamptz, fault text)
        ORDER BY event_id
    ), known AS (
        SELECT n.*, pay.settled, pay.deciding AND m.status <> 'halted' AS deciding,
               m.workflow_id, m.account_id
        FROM input n
        LEFT JOIN LATERAL (
            SELECT CASE WHEN n.reversal THEN 'reversal/' || public_id('pay', p.id)
                        ELSE i.workflow_id END AS workflow_id,
                   p.settled_at IS NOT NULL AND NOT n.reversal AS settled,
                   NOT n.reversal AND EXISTS (
                       SELECT FROM payment_attempts a
                       WHERE a.payment_id = p.id AND a.status = 'pending') AS deciding
            FROM payments p JOIN invoices i ON i.id = p.invoice_id
            WHERE p.stripe_payment_intent_id = n.intent
               OR p.stripe_checkout_session_id = n.object
            LIMIT 1) pay ON true
        LEFT JOIN matters m ON m.workflow_id = coalesce(pay.workflow_id,
            ({_NAMED_MATTER.format(matter="n.matter", customer="n.customer")}),
            (SELECT 'account/' || public_id('acc', account_id) FROM payment_methods
             WHERE stripe_payment_method_id = n.object AND n.added_to IS NULL),
            (SELECT 'account/' || public_id('acc', v.account_id)
             FROM accounts a JOIN portal_sessions v ON v.account_id = a.id AND v.status = 'open'
             WHERE a.stripe_customer_id = n.added_to LIMIT 1))
        ORDER BY n.event_id
    ), stored AS (
        INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type,
            object_id, payload, status, error, source, deliveries, created_at, received_at)
        SELECT event_id, account_id, workflow_id, type, object, payload,
               CASE WHEN fault IS NOT NULL THEN 'parked'
                    WHEN NOT relevant OR foreign_card AND workflow_id IS NULL THEN 'ignored'
                    WHEN workflow_id IS NULL THEN 'unmatched'
                    WHEN settled THEN 'handled' ELSE 'received' END,
               fault, :source, copies, created_at, statement_timestamp()
        FROM known
        ON CONFLICT (stripe_event_id) DO UPDATE
            SET deliveries = stripe_webhook_events.deliveries + excluded.deliveries
            -- Asking again for what is known is no delivery.
            WHERE excluded.source = 'webhook'
        RETURNING stripe_event_id, workflow_id, status = 'received' AND xmax = 0 AS fresh
    ), awake AS (
        SELECT workflow_id FROM matters
        WHERE workflow_id IN (
            SELECT s.workflow_id FROM stored s JOIN known k ON k.event_id = s.stripe_event_id
            WHERE s.fresh AND k.deciding IS NOT TRUE)
        ORDER BY workflow_id FOR NO KEY UPDATE
    ), woken AS (
        UPDATE matters m SET revision = m.revision + 1, closed_at = NULL,
            status = CASE m.status WHEN 'halted' THEN 'halted' ELSE 'open' END,
            next_due = least(coalesce(m.next_due, :at), :at),
            next_step = NULL, next_key = NULL, woken_at = :at, started_at = NULL
        FROM awake a WHERE m.workflow_id = a.workflow_id
        RETURNING m.*
    )
    SELECT s.stripe_event_id, w.* FROM stored s JOIN woken w ON w.workflow_id = s.workflow_id
    WHERE s.fresh
    """  # noqa: S608 - put together from constants
    ).bindparams(bindparam("rows", type_=JSONB))
)
# A payment without an earlier refund or dispute has no reversal in `matters` yet.
_BEAR_REVERSALS = Prepared(
    text(
        """
    INSERT INTO matters (workflow_id, account_id, kind, subject_id, status, created_at, woken_at,
        closed_at)
    SELECT DISTINCT 'reversal/' || public_id('pay', p.id), p.account_id, 'reversal', p.id, 'closed',
        CAST(:at AS timestamptz), CAST(:at AS timestamptz), CAST(:at AS timestamptz)
    FROM payments p WHERE p.stripe_payment_intent_id = ANY (CAST(:intents AS text[]))
    ORDER BY 1
    ON CONFLICT (workflow_id) DO NOTHING
    """
    )
)
# Events about booked money add nothing (see `_RECEIVE`), except refunds, disputes and checks that
# were ordered. Events of a try under way may be committed a moment too late for the try to see
# them, and wake nobody. Replays are left out, because somebody asked for them.
_ECHOES = text(
    """
    UPDATE stripe_webhook_events e SET status = 'handled', dispatched_at = clock_timestamp()
    FROM (
        SELECT stripe_event_id, object_id FROM stripe_webhook_events
        WHERE status = 'received' AND replays = 0 AND received_at < :before
          AND type <> ALL (CAST(:kept AS text[]))
        ORDER BY received_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED) one
    WHERE e.stripe_event_id = one.stripe_event_id AND EXISTS (
        SELECT FROM payments p WHERE p.settled_at IS NOT NULL
            AND one.object_id IN (p.stripe_payment_intent_id, p.stripe_checkout_session_id))
    """
)
# Of our payments only: other users of the same Stripe account have theirs. Received anew, else each
# would seem to have had no owner since then, and by the upgrade: Stripe delivered nothing now.
_TAKE_UP = text(
    """
    UPDATE stripe_webhook_events SET status = 'unmatched', workflow_id = NULL, account_id = NULL,
        received_at = :at, dispatched_at = NULL, source = 'operator'
    WHERE stripe_event_id IN (
        SELECT e.stripe_event_id
        FROM stripe_webhook_events e JOIN payments p
            ON p.stripe_payment_intent_id = e.payload #>> '{data,object,payment_intent}'
        WHERE e.status = 'ignored' AND e.error IS NULL AND e.emptied_at IS NULL
          AND e.received_at > :since AND e.type = ANY (CAST(:types AS text[]))
          -- Almost nothing of what is ignored: so it has an index.
          AND e.type ~ '^(refund|charge[.](refund|dispute))'
        LIMIT :limit FOR UPDATE OF e SKIP LOCKED)
    """
)
_MOVE = text(
    f"""
    UPDATE stripe_webhook_events e SET workflow_id = :workflow_id
    FROM payments p
    WHERE p.invoice_id = :invoice_id AND e.workflow_id = :before AND e.status = 'received'
      AND {ABOUT}
    """  # noqa: S608 - put together from constants
)
# An event may have come while its payment passed to another matter, or long before that.
_FOLLOW = Prepared(
    text(
        f"""
    UPDATE stripe_webhook_events e SET workflow_id = i.workflow_id
    FROM payments p JOIN invoices i ON i.id = p.invoice_id
    WHERE e.stripe_event_id = :event_id AND {ABOUT}
      AND e.workflow_id <> i.workflow_id AND e.workflow_id NOT LIKE 'reversal/%'
    RETURNING e.workflow_id
    """  # noqa: S608 - put together from constants
    )
)


async def receive(
    connection: AsyncConnection, found: Sequence[ProviderEvent], source: str, at: datetime
) -> list[Matter | None]:
    """Store each event once by id; return per event the matter to notify, None if not new [N3].

    A known event only counts one more delivery. A closed matter is reopened.
    """
    rows = [
        {
            "event_id": event.event_id,
            "type": event.type,
            "object": event.object_id,
            "intent": event.intent_id,
            "customer": event.customer_id,
            "added_to": _visitor(event),
            "matter": event.workflow_id,
            "payload": event.payload,
            "relevant": event.type in ACTED_ON and is_news(event),
            "reversal": event.type in _REVERSALS,
            "foreign_card": event.type.startswith(("payment_method.", "customer."))
            or (event.type.startswith("setup_intent.") and event.workflow_id is None),
            "created_at": event.created_at.isoformat() if event.created_at else None,
            "fault": event.fault,
        }
        for event in found
    ]
    intents = [one.intent_id for one in found if one.type in _REVERSALS and one.intent_id]
    if intents:
        await bear_reversals(connection, intents, at)
    stored = await _RECEIVE.all(connection, rows=rows, source=source, at=at)
    owners = {row["stripe_event_id"]: matters.show(row) for row in stored}
    # Of copies in one batch only the first notifies a matter.
    return [owners.pop(event.event_id, None) for event in found]


def _visitor(event: ProviderEvent) -> str | None:
    """Return the customer whose visit to the portal explains the event."""
    if event.type == DEFAULT_CHOSEN:
        return event.object_id
    return event.customer_id if event.type == CARD_ADDED else None


async def bear_reversals(
    connection: AsyncConnection, intents: Sequence[str | None], at: datetime
) -> None:
    """Write the reversal matter of each of these intents' payments that has none yet."""
    await _BEAR_REVERSALS.run(connection, intents=intents, at=at)


async def handle_echoes(connection: AsyncConnection, received_before: datetime, limit: int) -> int:
    """Mark leftover events of booked payments as handled; return how many."""
    left = {"before": received_before, "limit": limit, "kept": [*_REVERSALS, ASKED_FOR]}
    return (await connection.execute(_ECHOES, left)).rowcount


async def take_up(connection: AsyncConnection, *, since: datetime, at: datetime, limit: int) -> int:
    """Take up a page of the events of returned money that the release before stored as ignored;
    return how many. One that was ignored on purpose has a reason.
    """
    sent = {"types": list(REVERSAL_EVENTS), "since": since, "at": at, "limit": limit}
    return (await connection.execute(_TAKE_UP, sent)).rowcount


async def find_owner(connection: AsyncConnection, event: Waiting) -> Matter | None:
    """Find and wake the matter of a leftover event: the one that now collects its payment. Match an
    event without owner again.
    """
    if event.workflow_id is None:
        known = read(event.payload)
        payment = await store.find_intent(connection, known.intent_id, known.object_id)
        workflow_id = payment.workflow_id if payment else await _named(connection, known)
        if payment is not None and known.type in _REVERSALS:
            await bear_reversals(connection, [known.intent_id], event.received_at)
            workflow_id = REVERSAL.workflow_id(payment.id)
        owner = await matters.find(connection, workflow_id) if workflow_id else None
        if owner is not None:
            await connection.execute(
                update(inbox)
                .where(inbox.c.stripe_event_id == event.event_id)
                .values(
                    account_id=owner.account_id,
                    workflow_id=owner.workflow_id,
                    status="received",
                    dispatched_at=None,
                )
            )
    else:
        followed = await _FOLLOW.scalar(connection, event_id=event.event_id)
        owner = await matters.find(connection, followed or event.workflow_id)
    if owner is not None:
        await matters.wake(connection, owner.workflow_id, event.received_at)
    return owner


async def _named(connection: AsyncConnection, event: ProviderEvent) -> str | None:
    asked = {"matter": event.workflow_id, "customer": event.customer_id}
    found: str | None = await _FIND_NAMED_MATTER.scalar(connection, **asked)
    return found


async def move(
    connection: AsyncConnection,
    *,
    invoice_id: UUID,
    before: str,
    workflow_id: str,
    at: datetime,  # noqa: ARG001 - every verb of a decision receives it
) -> None:
    """Give the invoice's waiting events to the matter that now collects it."""
    await connection.execute(
        _MOVE, {"invoice_id": invoice_id, "before": before, "workflow_id": workflow_id}
    )

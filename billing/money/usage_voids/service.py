"""A wrong use taken back: its counters, quotas and credits, and the money that was charged for it.

What an invoice or a card charged goes to the money balance, which the next invoice takes: an
invoice stands as it was issued.
"""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids
from billing.core.errors import Conflict, NotFound
from billing.core.frozen import Frozen
from billing.core.money import ZERO, exponent, round_minor
from billing.core.prepared import Prepared
from billing.ledger.credits import service as credits
from billing.matters.effects import Announce
from billing.matters.kinds import CHARGE
from billing.metering.usage import store
from billing.metering.usage.schemas import BY_CARD, BillingRecord
from billing.money.invoices import balances
from billing.money.invoices import store as invoice_store
from billing.platform.outbox import service as outbox

_VOID: Final = Prepared(
    text(
        "SELECT verdict, void_id FROM usage_void("
        ":account_id, :record_id, CAST(:charged AS numeric), CAST(:detail AS jsonb))"
    )
)
_BY_CARD: Final = Prepared(
    text(
        """
    SELECT i.currency, sum(l.amount_minor)::bigint AS amount_minor
    FROM billing_records AS r
    JOIN invoices AS i ON i.account_id = r.account_id AND i.workflow_id = :workflow_id
    JOIN invoice_lines AS l ON l.invoice_id = i.id
    WHERE r.id = :record_id AND r.account_id = :account_id AND r.billing_method = :by_card
        AND i.status NOT IN ('draft', 'void') AND l.kind = 'single_use'
    GROUP BY i.currency
    """
    )
)
_BILLED: Final = Prepared(
    text(
        """
    SELECT r.total_amount, b.invoice
    FROM billing_records AS r CROSS JOIN LATERAL (
        SELECT detail ->> 'invoice_id' AS invoice FROM billing_events
        WHERE account_id = r.account_id AND billing_id = r.id AND detail ? 'invoice_id'
        UNION ALL
        SELECT invoice FROM usage_settlements
        WHERE account_id = r.account_id AND r.id = ANY (records)
        LIMIT 1) AS b
    WHERE r.account_id = :account_id AND r.id = :record_id
    """
    )
)
_REFUSED: Final = {
    "correction": "this record corrects others, and is no use",
    "level": "the reading of a level is not taken back",
    "charging": "it is being charged: take it back when that is decided",
}


class Charged(NamedTuple):
    """Money in whole units."""

    amount: Decimal
    currency: str


class Voided(Frozen):
    """A use that was taken back, and what came back with it."""

    record: BillingRecord
    correction: BillingRecord
    """The record with its figures below zero."""

    @property
    def credits(self) -> Decimal:
        """Credits that went back to their lots."""
        return Decimal(self._detail["credits"])

    @property
    def balance_minor(self) -> int:
        """Money that went to the money balance, in minor units."""
        return _minor(Decimal(self._detail["money"]), self.currency)

    @property
    def currency(self) -> str:
        """The currency of that money: credits that a card paid instead were charged in one."""
        return str(self._detail.get("currency", self.record.currency))

    @property
    def reason(self) -> str:
        """The reason of the one who took it back first."""
        return str(self._detail["reason"])

    @property
    def _detail(self) -> dict[str, Any]:
        return self.correction.detail or {}


async def void(
    connection: AsyncConnection, account_id: UUID, record_id: UUID, reason: str
) -> Voided:
    """Take a use back, once; a second call answers the first.

    Errors: BILLING_RECORD_NOT_FOUND; BILLING_RECORD_STATE for what is no use, a level's reading,
    or a use whose card is being charged.
    """
    await credits.lock(connection, account_id)  # no charge is decided from here on
    charged = await _charged(connection, account_id, record_id)
    detail = {"reason": reason} | ({"currency": charged.currency} if charged else {})
    row = await _VOID.one(
        connection, account_id=account_id, record_id=record_id, detail=json.dumps(detail),
        charged=charged and charged.amount,
    )  # fmt: skip
    if row["verdict"] == "no_record":
        raise NotFound("BILLING_RECORD_NOT_FOUND", "no such billing record")
    if row["verdict"] in _REFUSED:
        raise Conflict("BILLING_RECORD_STATE", _REFUSED[row["verdict"]])
    done = Voided(
        record=await store.get_record(connection, account_id, record_id),
        correction=await store.get_record(connection, account_id, row["void_id"]),
    )
    if row["verdict"] == "ok":
        at = await clock.now(connection, account_id)
        await _give_money(connection, done, at)
        await _tell(connection, done, at)
    return done


async def _charged(
    connection: AsyncConnection, account_id: UUID, record_id: UUID
) -> Charged | None:
    """The money that a card or an invoice charged for a use; None where neither did.

    Of an invoice that was forgiven, given up or voided nothing was paid, and nothing comes back.
    """
    named = {"account_id": account_id, "record_id": record_id}
    paid = await _BY_CARD.first(
        connection, **named, by_card=BY_CARD, workflow_id=CHARGE.workflow_id(record_id)
    )
    if paid is not None:
        amount = Decimal(paid["amount_minor"]).scaleb(-exponent(paid["currency"]))
        return Charged(amount, paid["currency"])
    billed = await _BILLED.first(connection, **named)
    if billed is None:
        return None
    invoice = await invoice_store.get(connection, ids.decode(ids.INVOICE, billed["invoice"]))
    stands = invoice.status in ("open", "paid") and invoice.settlement != "forgiven"
    return Charged(billed["total_amount"] if stands else ZERO, invoice.currency)


async def _give_money(connection: AsyncConnection, done: Voided, at: datetime) -> None:
    if not done.balance_minor:
        return
    await balances.adjust(
        connection,
        done.record.account_id,
        adjustment_id=done.correction.id,
        amount_minor=done.balance_minor,
        currency=done.currency,
        reason=f"{ids.encode(ids.BILLING_RECORD, done.record.id)} was taken back: {done.reason}",
        at=at,
    )


async def _tell(connection: AsyncConnection, done: Voided, at: datetime) -> None:
    subject = ids.encode(ids.BILLING_RECORD, done.record.id)
    facts = {
        "billing_id": subject, "correction_id": ids.encode(ids.BILLING_RECORD, done.correction.id),
        "credits": f"{done.credits:f}", "balance_cents": done.balance_minor,
        "currency": done.currency, "reason": done.reason,
    }  # fmt: skip
    told = Announce(done.record.account_id, "usage.voided", subject, facts)
    await outbox.announce(connection, told, at)


def _minor(amount: Decimal, currency: str) -> int:
    return round_minor(amount.scaleb(exponent(currency))) if amount else 0

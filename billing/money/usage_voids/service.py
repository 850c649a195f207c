"""Voiding of a wrong use: its counters, quotas and credits, and the money charged for it.

A credit note on the invoice that charged the use returns the money: a paid amount goes to the money
balance, which the next invoice uses; what is still owed is reduced. What a refund, a dispute or
another note already returned is not returned again.
"""

import json
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.rating.schemas import BY_CARD
from billing.core import clock, ids
from billing.core.errors import Conflict
from billing.core.frozen import Frozen
from billing.core.money import ZERO, exponent, round_exact, round_minor
from billing.core.prepared import Prepared
from billing.core.transaction_settings import allow_whole_cycle
from billing.ledger.credits import service as credits
from billing.matters.effects import Announce
from billing.matters.kinds import CHARGE
from billing.matters.schemas import Matter
from billing.metering.usage import months, store
from billing.metering.usage.schemas import BillingRecord
from billing.money.invoice_requests import locks, operating
from billing.money.invoice_requests.corrections import Destination
from billing.money.invoices import store as invoice_store
from billing.money.invoices.arrears import SINGLE_USE, USAGE
from billing.money.invoices.schemas import CHARGED, Invoice, InvoiceLine
from billing.money.invoices.sums import LINE_TOTAL
from billing.platform.outbox import service as outbox

_VOID: Final = Prepared(
    text(
        "SELECT verdict, void_id FROM usage_void("
        ":account_id, :record_id, CAST(:charged AS numeric), CAST(:detail AS jsonb))"
    )
)
# By its id alone: with its account, a plan for an average one reads all of a giant's month.
_USE: Final = """(
        SELECT id, account_id, period_start, meter, total_amount, currency, billing_method
        FROM billing_records
        WHERE id = :record_id AND month = ANY (usage_record_months(:record_id)) OFFSET 0)"""
_BY_CARD: Final = Prepared(
    text(
        f"""
    SELECT i.id, sum({LINE_TOTAL})::bigint AS amount_minor
    FROM {_USE} AS r
    JOIN invoices AS i ON i.account_id = r.account_id AND i.workflow_id = :workflow_id
    JOIN invoice_lines AS l ON l.invoice_id = i.id
    WHERE r.account_id = :account_id AND r.billing_method = :by_card
        AND i.status NOT IN ('draft', 'void') AND l.kind = 'single_use'
    GROUP BY i.id
    """  # noqa: S608 - put together from constants
    )
)
# Of the invoice's line for the use: its sum with tax in minor units, what its uses cost by
# themselves, and how much of that was voided before, of the months that are here. Voided uses are
# few, and have an index.
_BILLED: Final = Prepared(
    text(
        f"""
    SELECT r.total_amount AS cost, r.currency, b.invoice, l.charged_minor, l.net_minor, l.true_up,
        l.positions, (
        SELECT coalesce(-sum(v.total_amount), 0) FROM billing_records AS v
        WHERE v.account_id = r.account_id AND v.billing_status = 'refunded'
            AND v.voids IS NOT NULL AND v.occurred_at >= r.period_start - usage_early_limit()
            AND v.period_start = r.period_start AND v.meter = r.meter
            AND v.detail ->> 'invoice_id' = b.invoice) AS voided
    FROM {_USE} AS r CROSS JOIN LATERAL (
        SELECT detail ->> 'invoice_id' AS invoice FROM billing_events
        WHERE account_id = r.account_id AND billing_id = r.id AND detail ? 'invoice_id'
        UNION ALL
        SELECT invoice FROM usage_settlements
        WHERE account_id = r.account_id AND r.id = ANY (records)
        LIMIT 1) AS b
    CROSS JOIN LATERAL (
        SELECT sum({LINE_TOTAL})::bigint AS charged_minor,
            sum(l.amount_minor)::bigint AS net_minor,
            sum((l.detail ->> 'true_up')::numeric) AS true_up, array_agg(l.position) AS positions
        FROM invoice_lines AS l
        WHERE l.account_id = r.account_id AND public_id('inv', l.invoice_id) = b.invoice
            AND l.kind = 'usage' AND l.period_start = r.period_start
            AND l.detail ->> 'meter' = r.meter) AS l
    WHERE r.account_id = :account_id
    """  # noqa: S608 - put together from constants
    )
)
_SUFFIX: Final = "void-"
"""Begins the suffix of a note that credits a voided use, before the use."""
_REFUSED: Final = {
    "correction": "this record is a correction, not a use",
    "level": "a level reading cannot be voided",
    "charging": "the use is being charged; void it once the charge is decided",
}
_UNDECIDED: Final = (
    "a refund or dispute of what was paid for the use is undecided; void it once that is decided"
)


class UseCharge(NamedTuple):
    """The money that an invoice charged for a use, with its tax."""

    invoice_id: UUID
    amount_minor: int
    by_card: bool = False
    """True for a use that a card paid alone, not with its cycle."""


class Returned(NamedTuple):
    """The part of a charge that a note on its invoice returns, in whole units."""

    invoice: Invoice
    amount: Decimal
    waits: bool = False
    """True while a refund or dispute decides how much it is."""


class Voided(Frozen):
    """A voided use, and what was returned with it."""

    record: BillingRecord
    correction: BillingRecord
    """The record with its figures below zero."""
    matter: Matter | None = None
    """The matter to notify: less is owed on an invoice that it collects."""

    @property
    def credits(self) -> Decimal:
        """Credits that went back to their lots."""
        return Decimal(self._detail["credits"])

    @property
    def balance_minor(self) -> int:
        """Money that went to the money balance, in minor units."""
        return self._money_minor - self.credited_minor

    @property
    def credited_minor(self) -> int:
        """Money owed on an invoice, reduced by a credit note, in minor units."""
        return min(self._money_minor, int(self._detail.get("owed_minor", 0)))

    @property
    def _money_minor(self) -> int:
        return _minor(Decimal(self._detail["money"]), self.currency)

    @property
    def currency(self) -> str:
        """The invoice's currency if the use was charged, else the record's."""
        return str(self._detail.get("currency", self.record.currency))

    @property
    def reason(self) -> str:
        """The reason given at the first void."""
        return str(self._detail["reason"])

    @property
    def _detail(self) -> dict[str, Any]:
        return self.correction.detail or {}


async def void(
    connection: AsyncConnection, account_id: UUID, record_id: UUID, reason: str
) -> Voided:
    """Void a use, once; a second call returns the first result.

    Errors: BILLING_RECORD_NOT_FOUND, BILLING_RECORD_AWAY; BILLING_RECORD_STATE for a record that is
    no use, a level's reading, or a use whose card is being charged; PAYMENT_PENDING while a refund
    or dispute may take what was paid for it.
    """
    charge = await _lock_charge(connection, account_id, record_id)
    returned = await _returned(connection, charge) if charge else None
    await allow_whole_cycle(connection)
    row = await _VOID.one(
        connection, account_id=account_id, record_id=record_id,
        detail=json.dumps(_detail(reason, returned)), charged=returned and returned.amount,
    )  # fmt: skip
    if row["verdict"] == "no_record":
        raise await months.missing(connection, record_id)
    if row["verdict"] in _REFUSED:
        raise Conflict("BILLING_RECORD_STATE", _REFUSED[row["verdict"]])
    if row["verdict"] == "ok" and returned is not None and returned.waits:
        # Later nobody would credit what the refund or dispute leaves.
        raise Conflict("PAYMENT_PENDING", _UNDECIDED)
    done = Voided(
        record=await store.get_record(connection, account_id, record_id),
        correction=await store.get_record(connection, account_id, row["void_id"]),
    )
    if row["verdict"] == "ok":
        at = await clock.now(connection, account_id)
        if returned is not None:
            done = done.model_copy(update={"matter": await _credit(connection, done, returned)})
        await _announce(connection, done, at)
        if done.credits:
            await credits.watch_returned(connection, account_id, at)
    return done


def _detail(reason: str, returned: Returned | None) -> dict[str, Any]:
    if returned is None:
        return {"reason": reason}
    invoice = returned.invoice
    named = ids.encode(ids.INVOICE, invoice.id)
    owed = {"owed_minor": invoice.outstanding_minor}
    return {"reason": reason, "currency": invoice.currency, "invoice_id": named} | owed


async def _lock_charge(
    connection: AsyncConnection, account_id: UUID, record_id: UUID
) -> UseCharge | None:
    """Lock the account and what collects the charge of a use; return the charge.

    Errors: UNAVAILABLE if the use passed to another invoice before it was locked.
    """
    known = await _charge(connection, account_id, record_id)
    if known is not None:  # its matter's lock comes before the account's
        await locks.take_collectors(connection, account_id, [known.invoice_id])
    await credits.lock(connection, account_id)  # no charge is decided from here on
    # Other uses of its line may have been voided before the lock.
    charge = await _charge(connection, account_id, record_id)
    if known is None and (charge is None or charge.by_card):
        return None  # a card's charge that was decided before the lock refuses the void
    if charge is not None and (known is None or charge.invoice_id != known.invoice_id):
        raise locks.passed_on()
    return charge


async def _charge(
    connection: AsyncConnection, account_id: UUID, record_id: UUID
) -> UseCharge | None:
    """The charge of a use, by card or with its cycle; None if it was not charged."""
    named = {"account_id": account_id, "record_id": record_id}
    by_card = await _BY_CARD.first(
        connection, **named, by_card=BY_CARD, workflow_id=CHARGE.workflow_id(record_id)
    )
    if by_card is not None:
        return UseCharge(by_card["id"], by_card["amount_minor"], by_card=True)
    billed = await _BILLED.first(connection, **named)
    if billed is None:
        return None
    invoice_id = ids.decode(ids.INVOICE, billed["invoice"])
    net = Decimal(billed["net_minor"] or 0).scaleb(-exponent(billed["currency"]))
    uses, line = net - (billed["true_up"] or ZERO), billed["charged_minor"] or 0
    if uses <= 0 or line <= 0:
        return UseCharge(invoice_id, 0)
    away = await _credited_away(connection, invoice_id, billed["positions"])
    voided, cost = (Fraction(billed[one]) / Fraction(uses) for one in ("voided", "cost"))
    before = voided + Fraction(away, line)
    return UseCharge(invoice_id, _share(line, before + cost) - _share(line, before))


async def _credited_away(
    connection: AsyncConnection, invoice_id: UUID, positions: Collection[int]
) -> int:
    """Return what notes credited on these lines for voided uses whose months are archived."""
    if not await months.are_away(connection):
        return 0
    notes = await invoice_store.credit_notes_of(connection, invoice_id)
    by_use = {_use_of(one): one["lines"] for one in notes}
    here = await months.here(connection, {one for one in by_use if one is not None})
    return sum(
        part["amount_minor"]
        for use, parts in by_use.items()
        for part in parts
        if use is not None and use not in here and part["position"] in positions
    )


def _use_of(note: dict[str, Any]) -> UUID | None:
    """Return the voided use that a note credits; None for any other note."""
    _, _, use = note["fact_key"].partition(f"/{_SUFFIX}")
    return ids.parse(ids.BILLING_RECORD, use) if note["kind"] == "voided_use" else None


def _share(line_minor: int, part: Fraction) -> int:
    """Return the amount of a part of a line, rounded once for all its uses.

    Voided one by one, the uses of a line thus return no more and no less than the line.
    """
    return min(line_minor, round_exact(line_minor * part)) if part > 0 else 0


async def _returned(connection: AsyncConnection, charge: UseCharge) -> Returned:
    """Return the part of a charge that must be given back.

    Of one that was voided nothing comes back; of one that was forgiven there is left what was paid
    before.
    """
    invoice = await invoice_store.get(connection, charge.invoice_id)
    if invoice.status not in CHARGED:
        return Returned(invoice, ZERO)
    asked = charge.amount_minor
    left = await operating.left_of_use(connection, invoice, asked, _destination(invoice))
    amount = Decimal(left.amount_minor).scaleb(-exponent(invoice.currency))
    return Returned(invoice, amount, left.waits)


def _destination(invoice: Invoice) -> Destination:
    """Reduce what is still owed, also of an invoice that was given up: it may be paid yet. Money
    that was paid goes to the money balance.
    """
    return "debt" if invoice.is_owed else "balance"


async def _credit(connection: AsyncConnection, done: Voided, returned: Returned) -> Matter | None:
    """Credit the use on its invoice; return the matter that collects it, to be notified."""
    amount = done.credited_minor + done.balance_minor
    if not amount:
        return None
    use = ids.encode(ids.BILLING_RECORD, done.record.id)
    bills = partial(_bills, done.record)
    lines = await operating.parts_of(connection, returned.invoice, amount, bills)
    return await operating.credit(
        connection,
        returned.invoice.id,
        amount_minor=amount,
        lines=lines,
        reason=f"{use} was taken back: {done.reason}",
        to=_destination(returned.invoice),
        suffix=f"{_SUFFIX}{use}",
        kind="voided_use",
    )


def _bills(record: BillingRecord, line: InvoiceLine) -> bool:
    """True if the line bills a use, with its cycle or alone."""
    if line.kind == SINGLE_USE:
        return True
    of_cycle = line.kind == USAGE and line.period_start == record.period_start
    return of_cycle and line.detail.get("meter") == record.meter


async def _announce(connection: AsyncConnection, done: Voided, at: datetime) -> None:
    subject = ids.encode(ids.BILLING_RECORD, done.record.id)
    facts = {
        "billing_id": subject, "correction_id": ids.encode(ids.BILLING_RECORD, done.correction.id),
        "credits": f"{done.credits:f}", "balance_cents": done.balance_minor,
        "credited_cents": done.credited_minor,
        "currency": done.currency, "reason": done.reason,
    }  # fmt: skip
    event = Announce(done.record.account_id, "usage.voided", subject, facts)
    await outbox.announce(connection, event, at)


def _minor(amount: Decimal, currency: str) -> int:
    return round_minor(amount.scaleb(exponent(currency))) if amount else 0

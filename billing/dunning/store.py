"""Every query on dunning cases, and the picture of all invoices a matter collects."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared
from billing.core.agenda import Step, head
from billing.core.errors import NotFound
from billing.core.matters import workflow_id
from billing.core.money import show_money
from billing.core.prepared import Fields, Prepared, given
from billing.dunning.rules import (
    Case,
    Collecting,
    CollectionState,
    Policy,
    agenda,
    collection_agenda,
)
from billing.dunning.schemas import DunningCase
from billing.dunning.tables import dunning_cases
from billing.events.tables import WAITING_MARKS
from billing.invoices.tables import invoices

OPEN_CASE: Final = ("open", "paused")
# One round trip: each invoice with its case, its one live payment, what waits to take over, and
# what was tried. A settled invoice stays in view while something could still bring money for it.
_COLLECTING = Prepared(
    text(
        """
    SELECT i.id, i.status, i.collection, i.finalized_at, i.created_at,
           i.pay_requests, i.pay_requested_at,
           d.status AS case_status, d.policy, d.zone, d.day_zero_at, d.last_slot,
           d.last_slot_ran_at, d.last_true_attempt_at, d.extended_days,
           p.id AS payment_id, p.road, p.status AS payment_status, p.checks, p.last_check_at,
           coalesce(p.offered_at, p.created_at) AS payment_at,
           coalesce(p.stripe_payment_intent_id, p.stripe_checkout_session_id) IS NOT NULL AS opened,
           p.amount_minor <> i.amount_due_minor - i.amount_paid_minor - i.amount_credited_minor
               AS stale,
           (SELECT a.status = 'action' FROM payment_attempts a WHERE a.payment_id = p.id
            ORDER BY a.real_started_at DESC, a.id DESC LIMIT 1) AS awaits_payer,
           w.id AS submission_id, u.id AS unsettled_id,
           m.id AS method_id, m.chosen_at AS method_chosen_at,
           EXISTS (SELECT 1 FROM payment_attempts a
                   WHERE a.invoice_id = i.id AND a.payment_method_id = m.id
                     AND a.status NOT IN ('unreached', 'skipped')) AS method_tried,
           (SELECT a.key FROM payment_attempts a
            WHERE a.invoice_id = i.id AND a.status = 'pending') AS undecided,
           ARRAY(SELECT a.key FROM payment_attempts a
                 WHERE a.invoice_id = i.id AND a.status <> 'pending' ORDER BY a.key) AS tried,
           ARRAY(SELECT a.key FROM payment_attempts a
                 WHERE a.invoice_id = i.id AND a.status = 'unreached' ORDER BY a.key) AS unreached,
           (SELECT max(a.finished_at) FROM payment_attempts a
            WHERE a.invoice_id = i.id AND a.status = 'unreached') AS last_unreached_at
    FROM invoices i
    LEFT JOIN dunning_cases d ON d.invoice_id = i.id
    LEFT JOIN payments p ON p.invoice_id = i.id
         AND p.status IN ('pending', 'pending_approval', 'processing')
         AND NOT (p.road = 'manual' AND p.status = 'pending')
    LEFT JOIN payments w ON w.invoice_id = i.id AND w.road = 'manual' AND w.status = 'pending'
    LEFT JOIN LATERAL (SELECT id FROM payments WHERE invoice_id = i.id
         AND status IN ('succeeded', 'completed') AND settled_at IS NULL
         ORDER BY created_at LIMIT 1) u ON true
    LEFT JOIN payment_methods m ON m.account_id = i.account_id
         AND m.is_default AND m.status = 'active' AND m.barred_at IS NULL
    WHERE i.workflow_id = :workflow_id
      AND (i.status = 'open' OR u.id IS NOT NULL OR (i.status = 'draft' AND :pay_first)
           OR w.id IS NOT NULL OR (i.status <> 'draft' AND p.road <> 'manual'))
    ORDER BY i.created_at, i.id
    """
    )
)


_COLLECTION = f"""
SELECT i.*, a.clock_at,
       {WAITING_MARKS} AS events
FROM invoices i JOIN accounts a ON a.id = i.account_id
WHERE i.id = :invoice_id
"""  # noqa: S608 - put together from constants
_READ_COLLECTION = Prepared(text(_COLLECTION))
_LOCK_COLLECTION = Prepared(text(_COLLECTION + "FOR NO KEY UPDATE OF i"))
_OF_INVOICE = Prepared(
    select(dunning_cases).where(dunning_cases.c.invoice_id == given("invoice_id"))
)


async def collecting(
    connection: AsyncConnection, workflow_id: str, *, pay_first: bool
) -> tuple[Collecting, ...]:
    """The invoices this matter collects, oldest first; drafts only of a pay-first flow."""
    rows = await _COLLECTING.all(connection, workflow_id=workflow_id, pay_first=pay_first)
    return tuple(_collecting(row) for row in rows)


async def collection(
    connection: AsyncConnection, invoice_id: UUID, *, lock: bool = False
) -> CollectionState:
    """The rows' word about one pursued invoice, optionally under its lock."""
    matter = workflow_id("collection", invoice_id)
    row = await (_LOCK_COLLECTION if lock else _READ_COLLECTION).first(
        connection, invoice_id=invoice_id, workflow_id=matter
    )
    if row is None:
        raise NotFound("INVOICE_NOT_FOUND", "no such invoice")
    found = await collecting(connection, matter, pay_first=False)
    known = CollectionState(
        clock_at=row["clock_at"],
        status="collecting" if row["status"] == "open" else row["status"],
        invoice=found[0] if found else None,
        events=tuple(row["events"]),
        subject=ids.encode(ids.INVOICE, invoice_id),
    )
    step = head(collection_agenda(known))
    owed = row["amount_due_minor"] - row["amount_paid_minor"] - row["amount_credited_minor"]
    money = show_money(owed, row["currency"])
    what = f"{row['number']}, {money}: {step.words if step else known.status}"
    return known.model_copy(update={"words": what})


async def open_case(connection: AsyncConnection, row: dict[str, Any]) -> DunningCase:
    """Open the invoice's one case; a repeat answers the first."""
    await connection.execute(
        insert(dunning_cases)
        .values(**row)
        .on_conflict_do_nothing(index_elements=[dunning_cases.c.invoice_id])
    )
    return await of_invoice(connection, row["invoice_id"])


async def find_of_invoice(connection: AsyncConnection, invoice_id: UUID) -> DunningCase | None:
    """The case of an invoice, open or closed."""
    row = await _OF_INVOICE.first(connection, invoice_id=invoice_id)
    return show(row) if row else None


async def of_invoice(connection: AsyncConnection, invoice_id: UUID) -> DunningCase:
    """The same; NOT_FOUND when there is none."""
    case = await find_of_invoice(connection, invoice_id)
    if case is None:
        raise NotFound("DUNNING_CASE_NOT_FOUND", "this invoice has no dunning case")
    return case


async def get(connection: AsyncConnection, case_id: UUID, *, lock: bool = False) -> DunningCase:
    """One case, optionally locked; DUNNING_CASE_NOT_FOUND."""
    query = select(dunning_cases).where(dunning_cases.c.id == case_id)
    rows = await connection.execute(query.with_for_update() if lock else query)
    row = rows.mappings().one_or_none()
    if row is None:
        raise NotFound("DUNNING_CASE_NOT_FOUND", "no such dunning case")
    return show(row)


async def change(connection: AsyncConnection, case_id: UUID, **fields: Any) -> DunningCase:
    """Overwrite fields of one case."""
    return show(await prepared.change(connection, dunning_cases, case_id, **fields))


async def open_of_subscription(
    connection: AsyncConnection, subscription_id: UUID
) -> list[DunningCase]:
    """The cases that are not closed, oldest first."""
    rows = await connection.execute(
        select(dunning_cases)
        .where(
            dunning_cases.c.subscription_id == subscription_id,
            dunning_cases.c.status.in_(OPEN_CASE),
        )
        .order_by(dunning_cases.c.opened_at)
    )
    return [show(row) for row in rows.mappings()]


async def next_step(connection: AsyncConnection, case: DunningCase) -> Step | None:
    """What happens to the case's invoice by itself, and when; None when nothing does."""
    if not case.is_open:
        return None
    collector = await connection.scalar(
        select(invoices.c.workflow_id).where(invoices.c.id == case.invoice_id)
    )
    name = ids.encode(ids.INVOICE, case.invoice_id)
    found = await collecting(connection, collector or "", pay_first=False)
    return head([step for one in found if one.invoice == name for step in agenda(one)])


def listing(*, status: str | None = None, account_id: UUID | None = None) -> Select[Any]:
    """Cases for operators; order and cut are the caller's."""
    query = select(dunning_cases)
    if status is not None:
        query = query.where(dunning_cases.c.status == status)
    return query if account_id is None else query.where(dunning_cases.c.account_id == account_id)


def show(row: Fields) -> DunningCase:
    """A row as a case."""
    return DunningCase.model_validate(dict(row))


def _collecting(row: Mapping[str, Any]) -> Collecting:
    opened = bool(row["payment_id"] and row["opened"])
    return Collecting(
        invoice=ids.encode(ids.INVOICE, row["id"]),
        day_zero_at=row["finalized_at"] or row["created_at"],
        held=row["collection"] == "held",
        pay_first=row["status"] == "draft",
        closed=row["status"] not in ("draft", "open"),
        case=_case(row),
        given_up=row["case_status"] not in (None, *OPEN_CASE),
        unsettled=_external(ids.PAYMENT, row["unsettled_id"]),
        payment=_external(ids.PAYMENT, row["payment_id"]),
        road=row["road"],
        payment_status=row["payment_status"],
        opened=opened,
        payment_at=row["payment_at"],
        checks=row["checks"] or 0,
        last_check_at=row["last_check_at"],
        stale=bool(row["stale"]),
        awaits_payer=opened and bool(row["awaits_payer"]),
        submission=_external(ids.PAYMENT, row["submission_id"]),
        undecided=row["undecided"],
        tried=tuple(row["tried"]),
        unreached=tuple(row["unreached"]),
        last_unreached_at=row["last_unreached_at"],
        pay_requests=row["pay_requests"],
        pay_requested_at=row["pay_requested_at"],
        method=_external(ids.PAYMENT_METHOD, row["method_id"]),
        method_chosen_at=row["method_chosen_at"],
        method_tried=row["method_tried"],
    )


def _case(row: Mapping[str, Any]) -> Case | None:
    """The invoice's case while it is open or paused."""
    if row["case_status"] not in OPEN_CASE:
        return None
    return Case(
        status=row["case_status"],
        policy=Policy.model_validate(row["policy"]),
        zone=row["zone"],
        day_zero_at=row["day_zero_at"],
        last_slot=row["last_slot"],
        last_slot_ran_at=row["last_slot_ran_at"],
        last_true_attempt_at=row["last_true_attempt_at"],
        extended_days=row["extended_days"],
    )


def _external(prefix: str, value: UUID | None) -> str | None:
    return ids.encode(prefix, value) if value else None

"""The rows of a subscription and the other facts of its decision, read in one round trip.

Locks come first, each a statement of its own, in the order of all matters: the matter's row, the
account, the payments by id (docs/rules/accounts.md). A look reads what the agenda needs; only a
decision reads the lines of invoices, and only one that may bill reads usage. A second round trip
reads what few subscriptions have rows for: starting its parts takes a third of the query's CPU.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.store import read_plan, show_price
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import credits_at_start
from billing.core.errors import NotFound
from billing.core.prepared import Prepared, Row, answers, last_of
from billing.ledger.credits import rollover, verbs
from billing.ledger.credits import service as credits
from billing.matters.agenda import now_after
from billing.matters.effects import Rows
from billing.matters.kinds import SUBSCRIPTION
from billing.metering.limit_overrides import service as limit_overrides
from billing.money.collecting.handing_over import MOVE_EVENTS
from billing.money.contracts.schemas import Contract
from billing.money.discounts.schemas import Discount
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices import account_currency, usage_lines
from billing.money.invoices.operations import LEAVE_CURRENCY
from billing.money.invoices.schemas import BalanceEntry, CreditNote
from billing.money.payments import event_owners, reading
from billing.money.payments.card_rules import ATTEMPT_WINDOW
from billing.money.payments.verbs import COLLECTING
from billing.money.refunds.reading import TYPES
from billing.money.subscriptions import decision_query, store
from billing.money.subscriptions.facts import Allowance, PlanLot, Spent, SubscriptionFacts
from billing.money.subscriptions.free_grants import FreeGrant
from billing.money.subscriptions.payment_effects import KEEP_CURRENCY
from billing.money.subscriptions.periods.agreed_limits import ALIGN_LIMITS
from billing.money.subscriptions.periods.cycles import OPEN_USAGE_PERIOD
from billing.money.subscriptions.periods.invoicing import COMPLETE_RECORDS
from billing.money.subscriptions.rules import BILLING_STEPS, CHARGED_AT_ONCE, ENDING_STEPS
from billing.money.subscriptions.schemas import (
    CrossedPeriod,
    Item,
    Offered,
    PlanWish,
    Subscription,
    SubscriptionChange,
)
from billing.money.subscriptions.terms import change_rows
from billing.money.subscriptions.transitions import RULES
from billing.money.taxation.reading import shown
from billing.money.trials.schemas import Trial
from billing.platform.decisions.service import Engine, Read, now_facts


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, SubscriptionFacts]:
    """Read one subscription and the invoices it collects; a look locks only the matter's row."""
    matter = SUBSCRIPTION.workflow_id(wanted.subject_id)
    named = {"subject_id": wanted.subject_id}
    real_at = real_now()
    locks: list[tuple[Prepared, dict[str, Any]]] = (
        [(decision_query.LOCK, named)] if wanted.locked else []
    )
    if wanted.locked and wanted.deciding:
        locks.append((decision_query.LOCK_ACCOUNT, named))
        locks.append((decision_query.LOCK_PAYMENTS, {"workflow_id": matter}))
    values = {
        **named,
        "workflow_id": matter,
        "known": list(wanted.known),
        **_named(wanted.about),
        "real_at": real_at,
        "window": ATTEMPT_WINDOW,
    }
    giving_back = wanted.deciding and (wanted.step is None or wanted.step.name in ENDING_STEPS)
    flags = {
        "deciding": wanted.deciding,
        "changing": wanted.about is not None,
        "giving_back": giving_back,
    }
    statement = decision_query.query(**flags, rare=giving_back or wanted.about is not None)
    bills = wanted.deciding and (wanted.step is None or wanted.step.name in BILLING_STEPS)
    owed = (usage_lines.UNBILLED, {"subscription_id": wanted.subject_id})
    asked = [*locks, (statement, values), *([owed] if bills else [])]
    found, *arrears = (await answers(connection, *asked))[len(locks) :]
    if found and found[0]["has_rare"]:
        found = await last_of(connection, (decision_query.query(**flags, rare=True), values))
    if not found:
        raise NotFound("SUBSCRIPTION_NOT_FOUND", "no such subscription")
    rows = _rows(found[0])
    if wanted.deciding and not bills and _may_bill_now(rows):
        arrears = await answers(connection, owed)
    facts = _facts(found[0], real_at, wanted, rows)
    used = usage_lines.owed(arrears[0], rows) if arrears else ()
    return rows, replace(facts, usage=used, credits_at_start=credits_at_start(connection))


def _may_bill_now(rows: Rows) -> bool:
    """True if any step may bill usage: a payment may end `unpaid`, or pay for another plan."""
    (subscription,) = rows.of(Subscription)
    waits = change_rows.pending(rows)
    return subscription.status == "unpaid" or (waits is not None and waits.kind == "plan")


def _facts(row: Row, real_at: Any, wanted: Read, rows: Rows) -> SubscriptionFacts:
    plan = read_plan(row["plan"])
    offers = tuple(_offer(one) for one in row["offers"])
    known = (plan, *map(read_plan, row["later_plans"]), *(one.plan for one in offers))
    (subscription,) = rows.of(Subscription)
    entries = (one for one in rows.of(BalanceEntry) if one.currency == subscription.currency)
    times = now_facts(row["clock_at"], real_at)
    return SubscriptionFacts(
        **times | {"at": now_after(subscription.updated_at, times["at"])},
        new_id=ids.new,
        answer=wanted.answer,
        database_at=row["database_at"],
        revision=row["revision"],
        is_test=row["is_test"],
        taxation=shown(row["taxation"]),
        balance_minor=row["balance_minor"] - sum(one.amount_minor for one in entries),
        declines=reading.declines_by_card(row),
        terms=plan.dunning,
        all_paused=row["all_paused"],
        zone=subscription.zone,
        account_zone=row["zone"],
        own_card=subscription.payment_method_id,
        subscription_id=wanted.subject_id,
        plans={one.id: one for one in known},
        offers=offers,
        lots=tuple(map(PlanLot.model_validate, row["lots"])),
        free_grants=tuple(map(FreeGrant.model_validate, row["free_grants"])),
        keeps=row["keeps"],
        allowances=tuple(map(Allowance.model_validate, row["allowances"])),
        sold_meters=tuple(row["sold_meters"]),
        used_share=Decimal(row["used_share"]),
        owes_change=row["owes_change"],
        spent=tuple(map(Spent.model_validate, row["spent"])),
        contracts=tuple(map(Contract.model_validate, row["contracts"])),
        issuer_id=row["issuer_id"],
        period_went_back=row["period_went_back"],
        period_is_lost=row["period_is_lost"],
        period_was_late=row["period_was_late"],
    )


def _named(wish: PlanWish | None) -> dict[str, Any]:
    """Return the parameters for the plan that a change names, by key or id; None: its own plan."""
    plan = wish.plan if wish is not None else None
    plan_id = ids.parse(ids.PLAN, plan) if plan is not None else None
    though_closed = wish is not None and wish.though_closed
    return {"plan": plan, "plan_id": plan_id, "though_closed": though_closed}


def _offer(row: Row) -> Offered:
    price = show_price(row["price"]) if row["price"] is not None else None
    return Offered(plan=read_plan(row["plan"]), price=price)


def _rows(row: Row) -> Rows:
    return reading.rows_of(
        row,
        Subscription.model_validate(row["subscription"]),
        items=Item,
        credit_notes=CreditNote,
        cases=DunningCase,
        changes=SubscriptionChange,
        crossed=CrossedPeriod,
        discounts=Discount,
        trials=Trial,
        **TYPES,
    )


ENGINE: Final = Engine(
    rules=RULES,
    read=read,
    goes_on=CHARGED_AT_ONCE,
    verbs={
        **COLLECTING,
        MOVE_EVENTS: event_owners.move,
        LEAVE_CURRENCY: account_currency.leave,
        KEEP_CURRENCY: account_currency.keep,
        verbs.GRANT: rollover.grant,
        verbs.ROLL_OVER: rollover.roll_over,
        verbs.CLAWBACK: credits.clawback,
        OPEN_USAGE_PERIOD: store.open_usage_period,
        ALIGN_LIMITS: limit_overrides.align,
        COMPLETE_RECORDS: usage_lines.complete_records,
    },
)

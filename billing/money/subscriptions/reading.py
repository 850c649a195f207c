"""The rows of a subscription and the other facts of its decision, read in one round trip.

Locks come first, each a statement of its own, in the order of all matters: the matter's row, the
account's trial, the account, the payments by id (docs/rules.md#accounts). A look reads what the
agenda needs; only a decision reads the lines of invoices, and only one that may bill reads usage.
"""

from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.store import read_plan, show_price
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import credits_at_start
from billing.core.errors import NotFound
from billing.core.prepared import Prepared, Row, answers
from billing.ledger.credits import rollover
from billing.ledger.credits import service as credits
from billing.matters.effects import Rows
from billing.matters.kinds import SUBSCRIPTION
from billing.metering.limit_overrides import service as limit_overrides
from billing.money.collecting.handing_over import MOVE_EVENTS
from billing.money.contracts.schemas import Contract
from billing.money.discounts import store as discount_store
from billing.money.discounts.schemas import Discount
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices import account_currency, usage_lines
from billing.money.invoices.schemas import BalanceEntry, CreditNote
from billing.money.invoices.transitions import LEAVE_CURRENCY
from billing.money.payments import event_owners, reading
from billing.money.payments.card_rules import ATTEMPT_WINDOW
from billing.money.payments.writing import COLLECTING
from billing.money.refunds.reading import REVERSALS, TYPES
from billing.money.subscriptions import store
from billing.money.subscriptions.facts import Allowance, PlanLot, Spent, SubscriptionFacts
from billing.money.subscriptions.free_grants import FreeGrant
from billing.money.subscriptions.payment_effects import KEEP_CURRENCY
from billing.money.subscriptions.periods import period_paid
from billing.money.subscriptions.periods.agreed_limits import ALIGN_LIMITS
from billing.money.subscriptions.periods.plan_lots import FREE_GRANTS, KEEPS, LOTS
from billing.money.subscriptions.periods.spending import CHARGES
from billing.money.subscriptions.rules import (
    BILLING_STEPS,
    CHARGED_AT_ONCE,
    ENDING_STEPS,
)
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
from billing.money.taxation.reading import TAXATION, shown
from billing.money.trials.schemas import Trial
from billing.platform.accounts.issuers import SELLER
from billing.platform.decisions.service import Engine, Read

_LOCK = reading.lock("subscriptions")
_LOCK_ACCOUNT = reading.lock_account("subscriptions")
_LOCK_TRIAL = Prepared(
    text(
        """
    SELECT id FROM trials
    WHERE account_id = (SELECT account_id FROM subscriptions WHERE id = :subject_id)
      AND kind = 'account_trial' AND status = 'active' FOR NO KEY UPDATE
    """
    )
)
_LOCK_PAYMENTS = Prepared(
    text(
        "SELECT p.id FROM payments p JOIN invoices i ON i.id = p.invoice_id"
        " WHERE i.workflow_id = :workflow_id AND i.status IN ('draft', 'open')"
        " ORDER BY p.id FOR NO KEY UPDATE OF p"
    )
)
# Invoices that may still change, and those that a waiting event is about.
_INVOICES = f"""
    SELECT i.* FROM invoices i
    WHERE i.id = ANY (CAST(:known AS uuid[]))
       OR (i.workflow_id = :workflow_id
           AND (i.status IN ('draft', 'open')
                -- Nobody pursues these, but a payer may ask to pay; an end may cut a period short.
                OR (i.status = 'uncollectible'
                    AND (i.pay_requested_at IS NOT NULL
                         -- Given up while it is unpaid: it stays so for that.
                         OR EXISTS (SELECT FROM subscriptions s
                                    JOIN dunning_cases c ON c.closed_at >= s.unpaid_at
                                    WHERE s.id = :subject_id AND s.status = 'unpaid'
                                      AND c.invoice_id = i.id)
                         OR i.period_start >= (SELECT s.current_period_start FROM subscriptions s
                                              WHERE s.id = i.subscription_id)))
                -- A change credits what these have charged, and so does an end or a pause.
                OR i.id IN (
                    WITH RECURSIVE source(id) AS (
                        SELECT c.id FROM invoices c JOIN subscriptions s ON s.id = c.subscription_id
                        WHERE :deciding AND s.id = :subject_id
                          AND c.workflow_id = :workflow_id
                          AND c.created_at >= s.current_period_start
                          AND (:changing OR :giving_back OR EXISTS (
                              SELECT FROM subscription_changes x
                              WHERE x.subscription_id = s.id AND x.status = 'pending'
                                AND x.kind IN ('add_ons', 'plan')))
                        UNION
                        -- The money of those that they credit is theirs too.
                        SELECT (l.detail ->> 'invoice')::uuid
                        FROM source o JOIN invoice_lines l ON l.invoice_id = o.id
                        WHERE l.kind = 'proration')
                    SELECT id FROM source)
                OR EXISTS (SELECT FROM payments p
                           WHERE p.invoice_id = i.id
                             AND (p.status IN ('pending', 'pending_approval', 'processing')
                                  OR (p.status IN ('succeeded', 'completed')
                                      AND p.settled_at IS NULL)))
                OR i.id IN (SELECT p.invoice_id
                            FROM stripe_webhook_events e
                            JOIN payments p ON {reading.ABOUT}
                            WHERE e.workflow_id = :workflow_id AND e.status = 'received')))
"""  # noqa: S608 - put together from constants


def _waits(kinds: str) -> str:
    """Return the condition that such a change waits for its payment: this decision may apply it."""
    return f"""
    :deciding AND EXISTS (
        SELECT FROM subscription_changes x
        WHERE x.subscription_id = s.id AND x.status = 'pending' AND x.kind IN ({kinds}))
"""


_WAITS = _waits("'plan'")
# Also where a change of plan or add-ons is requested.
_CHANGES = f"(:changing OR {_WAITS})"
# Only where a period or a commitment has a minimum.
_SPENT = f"""
           ARRAY({CHARGES} AND :deciding AND x.at >= least(s.current_period_start,
                     (s.minimums_unbilled -> 0 ->> 'since')::timestamptz,
                     (s.commitment ->> 'since')::timestamptz)
                   AND num_nonnulls(s.minimum_minor, s.minimum_before_minor, s.commitment,
                                    s.minimums_unbilled -> 0) > 0)
"""
_PERIOD_PAID = period_paid.paid_invoices("s.id", "s.current_period_start")
# Units that the plan and its add-ons include in the open cycle.
_ALLOWANCES = f"""
           ARRAY(SELECT jsonb_build_object(
                     'meter', c.meter, 'included', p.limits -> c.meter ->> 'included',
                     'used', c.covered::text, 'quantity', c.quantity::text,
                     'is_agreed', o.agreed, 'highest',
                     CASE WHEN m.kind IN ('max', 'last') AND NOT o.agreed THEN c.quantity::text END)
                 FROM credit_balances b JOIN usage_periods p ON p.id = b.period_id
                 CROSS JOIN LATERAL (
                     SELECT meter, quantity, covered FROM usage_cycles
                     WHERE account_id = p.account_id AND owner = '' AND period_start = p.start_at
                     OFFSET 0) c
                 JOIN meters m ON m.key = c.meter
                 CROSS JOIN LATERAL (SELECT EXISTS (
                     SELECT FROM limit_overrides x, coalesce(
                         a.clock_at, CAST(:real_at AS timestamptz)) AS now_at
                     WHERE x.account_id = s.account_id AND x.meter = c.meter
                       AND x.effective_from <= now_at
                       AND now_at < coalesce(x.effective_to, 'infinity')) AS agreed) o
                 WHERE (:changing OR {_waits("'add_ons', 'plan'")})
                   AND b.account_id = s.account_id AND p.limits ? c.meter)
"""  # noqa: S608 - put together from constants
# True if an allowance was used in the current cycle; otherwise no share need be computed.
_HAS_USED = """
    EXISTS (SELECT FROM usage_cycles c
            WHERE c.account_id = s.account_id AND c.owner = '' AND c.period_start >= s.cycle_start
              AND c.covered > 0)
"""
_PLAN = "(to_jsonb(pl) || jsonb_build_object('monthly_credits', pl.monthly_credits::text))::text"
_READ = f"""
    WITH mine AS MATERIALIZED ({_INVOICES})
    SELECT to_jsonb(s) AS subscription, a.clock_at, a.is_test, {SELLER} AS issuer_id, a.zone,
           {_PLAN} AS plan,
           ARRAY(SELECT {_PLAN} FROM plans pl
                 WHERE pl.id = ANY (ARRAY(
                     SELECT (x.terms ->> 'plan_id')::uuid FROM subscription_changes x
                     WHERE x.subscription_id = s.id
                       AND x.status IN ('pending', 'scheduled')))) AS later_plans,
           ARRAY(SELECT jsonb_build_object('plan', {_PLAN}, 'price', to_jsonb(r))
                 FROM plans pl LEFT JOIN prices r ON r.kind = 'plan' AND r.key = pl.key
                      AND r.is_current AND r.currency = s.currency
                 WHERE :changing AND pl.is_current AND (pl.is_active OR :though_closed)
                   AND (pl.id = CAST(:plan_id AS uuid)
                        OR pl.key = coalesce(CAST(:plan AS text), s.plan_key))) AS offers,
           ARRAY({LOTS} AND (:giving_back OR {_CHANGES})
                 ORDER BY x.expires_at, x.granted_seq) AS lots,
           ARRAY({FREE_GRANTS}) AS free_grants,
           :deciding AND {KEEPS} AS keeps,
           {_ALLOWANCES} AS allowances,
           CASE WHEN (:giving_back OR s.unserved_since IS NOT NULL OR {_WAITS}) AND {_HAS_USED}
                THEN usage_allowance_share(s.id)::text ELSE '0' END AS used_share,
           {reading.COLLECTED},
           {reading.hanging("dunning_cases", "x.id")} AS cases,
           {REVERSALS},
           {reading.METHODS} AS methods,
           ARRAY(SELECT to_jsonb(x) FROM subscription_changes x
                 WHERE x.subscription_id = s.id
                   AND (x.status IN ('pending', 'scheduled')
                        -- Portions of add-ons in the period, and days that were given to it.
                        OR :deciding AND x.status = 'applied'
                           AND (x.invoice_id IS NOT NULL OR x.kind = 'extend')
                           AND x.decided_at >= s.current_period_start
                        OR x.id = ANY (CAST(:known AS uuid[])))) AS changes,
           ARRAY(SELECT to_jsonb(x) FROM usage_periods x
                 WHERE x.account_id = s.account_id
                   AND (x.threshold_at IS NOT NULL
                        OR x.id = ANY (CAST(:known AS uuid[])))) AS crossed,
           {reading.balance_entries(":deciding")} AS balance_entries,
           {reading.hanging("credit_notes", "x.id", when=":deciding")} AS credit_notes,
           {reading.lines(":deciding")} AS lines,
           ARRAY(SELECT to_jsonb(x) || jsonb_build_object('units', x.units::text)
                 FROM subscription_items x
                 WHERE x.subscription_id = s.id ORDER BY x.id) AS items,
           ARRAY(SELECT to_jsonb(x) || jsonb_build_object('credits', x.credits::text)
                 FROM trials x
                 WHERE :deciding AND x.account_id = s.account_id AND x.kind = 'account_trial'
                   AND (x.status = 'active' OR x.id = ANY (CAST(:known AS uuid[])))) AS trials,
           ARRAY(SELECT to_jsonb(x) FROM contracts x
                 WHERE x.account_id = s.account_id
                   AND (x.effective_to IS NULL OR x.effective_to > s.current_period_start
                        OR :changing AND x.terms -> 'prices'
                           @> jsonb_build_array(jsonb_build_object('price_id', s.price_id))))
               AS contracts,
           {_SPENT} AS spent,
           {reading.declines(":deciding")} AS declines,
           coalesce((SELECT sum(x.amount_minor) FROM balance_entries x
                     WHERE :deciding AND x.account_id = s.account_id
                       AND x.currency = s.currency), 0)::bigint AS balance_minor,
           :deciding AND EXISTS (
               SELECT FROM invoices x
               WHERE x.subscription_id = s.id AND x.period_start = s.current_period_start
                 AND x.collection = 'held' AND x.created_at >= s.current_period_end)
               AS period_was_late,
           paid.went_back AS period_went_back,
           paid.is_lost AS period_is_lost,
           ARRAY(SELECT {discount_store.ROW} FROM discounts x
                 WHERE :deciding AND x.subscription_id = s.id
                   AND ({discount_store.OF_PERIOD}
                        OR x.id = ANY (CAST(:known AS uuid[])))) AS discounts,
           CASE WHEN :deciding THEN {TAXATION} ELSE '{{}}' END AS taxation,
           {reading.EVENTS_ABOUT_PAYMENTS} AS waiting_events
    FROM subscriptions s
    JOIN accounts a ON a.id = s.account_id
    JOIN plans pl ON pl.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT {period_paid.PERIOD_WENT_BACK} AS went_back, {period_paid.PERIOD_IS_LOST} AS is_lost
        {_PERIOD_PAID}) paid
    WHERE s.id = :subject_id
    """  # noqa: S608 - put together from constants


@cache
def _reading(**asked: bool) -> Prepared:
    """Return the query for these flags, without the parts that they switch off.

    Otherwise Postgres would start and stop every part on each run.
    """
    query = _READ
    for name, value in asked.items():
        query = query.replace(f":{name}", str(value).lower())
    return Prepared(text(query))


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, SubscriptionFacts]:
    """Read one subscription and the invoices it collects; a look locks only the matter's row."""
    matter = SUBSCRIPTION.workflow_id(wanted.subject_id)
    named = {"subject_id": wanted.subject_id}
    real_at = real_now()
    locks: list[tuple[Prepared, dict[str, Any]]] = [(_LOCK, named)] if wanted.locked else []
    if wanted.locked and wanted.deciding:
        locks += [(_LOCK_TRIAL, named), (_LOCK_ACCOUNT, named)]
        locks.append((_LOCK_PAYMENTS, {"workflow_id": matter}))
    values = {
        **named,
        "workflow_id": matter,
        "known": list(wanted.known),
        **_named(wanted.about),
        "real_at": real_at,
        "window": ATTEMPT_WINDOW,
    }
    statement = _reading(
        deciding=wanted.deciding,
        changing=wanted.about is not None,
        giving_back=wanted.deciding and (wanted.step is None or wanted.step.name in ENDING_STEPS),
    )
    bills = wanted.deciding and (wanted.step is None or wanted.step.name in BILLING_STEPS)
    owed = (usage_lines.OWED, {"subscription_id": wanted.subject_id})
    asked = [*locks, (statement, values), *([owed] if bills else [])]
    found, *arrears = (await answers(connection, *asked))[len(locks) :]
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
    return SubscriptionFacts(
        at=row["clock_at"] or real_at,
        real_at=real_at,
        new_id=ids.new,
        answer=wanted.answer,
        is_test=row["is_test"],
        taxation=shown(row["taxation"]),
        balance_minor=row["balance_minor"] - sum(one.amount_minor for one in entries),
        declines=reading.declines_by_card(row),
        terms=plan.dunning,
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
        used_share=Decimal(row["used_share"]),
        spent=tuple(map(Spent.model_validate, row["spent"])),
        contracts=tuple(map(Contract.model_validate, row["contracts"])),
        clock_at=row["clock_at"],
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
        "grant": rollover.grant,
        "roll_over": rollover.roll_over,
        "clawback": credits.clawback,
        "open_usage_period": store.open_usage_period,
        ALIGN_LIMITS: limit_overrides.align,
        "complete_records": usage_lines.complete_records,
    },
)

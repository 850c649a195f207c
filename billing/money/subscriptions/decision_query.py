"""SQL of the locks of a subscription's decision, and of all that it reads: one query, by flags."""

from functools import cache

from sqlalchemy import text

from billing.core.literals import texts
from billing.core.prepared import Prepared
from billing.matters.agenda import EARLY
from billing.money.discounts import store as discount_store
from billing.money.dunning.store import ALL_PAUSED
from billing.money.payments import reading
from billing.money.payments.schemas import LIVE
from billing.money.refunds.reading import REVERSALS
from billing.money.subscriptions.periods import period_paid
from billing.money.subscriptions.periods.plan_lots import FREE_GRANTS, KEEPS, LOTS
from billing.money.subscriptions.periods.spending import CHARGES
from billing.money.subscriptions.tables import UNDECIDED
from billing.money.taxation.reading import TAXATION
from billing.platform.accounts.issuers import SELLER

LOCK = reading.lock("subscriptions")
LOCK_ACCOUNT = reading.lock_account("subscriptions")
LOCK_PAYMENTS = Prepared(
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
                         OR :rare AND EXISTS (
                             SELECT FROM subscriptions s
                             JOIN dunning_cases c ON c.closed_at >= s.unpaid_at
                             WHERE s.id = :subject_id AND s.status = 'unpaid'
                               AND c.invoice_id = i.id)
                         OR i.period_start >= (SELECT s.current_period_start FROM subscriptions s
                                              WHERE s.id = i.subscription_id)))
                -- A change credits what these have charged, and so does an end or a pause.
                OR :rare AND i.id IN (
                    WITH RECURSIVE source(id) AS (
                        SELECT c.id FROM invoices c JOIN subscriptions s ON s.id = c.subscription_id
                        WHERE :deciding AND s.id = :subject_id
                          AND c.workflow_id = :workflow_id
                          AND c.created_at >= s.current_period_start - {EARLY}
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
                -- Credits of its period that come now lack the share of what went back.
                OR :deciding AND :rare AND i.status = 'paid' AND i.cycle_start IS NOT NULL
                   AND i.period_start = (SELECT s.current_period_start FROM subscriptions s
                                         WHERE s.id = :subject_id)
                   AND (EXISTS (SELECT FROM refunds x WHERE x.invoice_id = i.id)
                        OR EXISTS (SELECT FROM disputes x WHERE x.invoice_id = i.id))
                OR EXISTS (SELECT FROM payments p
                           WHERE p.invoice_id = i.id
                             AND (p.status IN {texts(LIVE)}
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
    :deciding AND :rare AND EXISTS (
        SELECT FROM subscription_changes x
        WHERE x.subscription_id = s.id AND x.status = 'pending' AND x.kind IN ({kinds}))
"""


_WAITS = _waits("'plan'")


# Also where a change of plan or add-ons is requested.
_CHANGES = f"(:changing OR {_WAITS})"


# A period or a commitment has a minimum.
_HAS_MINIMUM = """
    num_nonnulls(s.minimum_minor, s.minimum_before_minor, s.commitment,
                 s.minimums_unbilled -> 0) > 0
"""
_SPENT = f"""
           ARRAY({CHARGES} AND :deciding AND :rare AND x.at >= least(s.current_period_start,
                     (s.minimums_unbilled -> 0 ->> 'since')::timestamptz,
                     (s.commitment ->> 'since')::timestamptz)
                   AND {_HAS_MINIMUM})
"""
_PERIOD_PAID = period_paid.paid_invoices("s.id", "s.current_period_start")


_NOW = "coalesce(a.clock_at, CAST(:real_at AS timestamptz))"
# Units that the plan and its add-ons include in the open cycle. A claim was allowed: it is use.
_ALLOWANCES = f"""
           ARRAY(SELECT jsonb_build_object(
                     'meter', c.meter, 'included', p.limits -> c.meter ->> 'included',
                     'used', least((p.limits -> c.meter ->> 'included')::numeric,
                                   c.covered + c.claimed)::text,
                     'quantity', c.quantity::text, 'is_agreed', o.agreed, 'highest',
                     CASE WHEN usage_is_level(m.kind) AND NOT o.agreed THEN c.quantity::text END)
                 FROM credit_balances b JOIN usage_periods p ON p.id = b.period_id
                 CROSS JOIN LATERAL (
                     SELECT meter, sum(quantity) AS quantity, sum(covered) AS covered,
                         sum(claimed) AS claimed
                     FROM (SELECT meter, quantity, covered, 0 AS claimed FROM usage_cycles
                           WHERE account_id = p.account_id AND owner = ''
                             AND period_start = p.start_at
                           UNION ALL
                           SELECT meter, 0, 0, amount
                           FROM quota_claims_in_force(p.account_id, {_NOW})) x
                     GROUP BY meter OFFSET 0) c
                 JOIN meters m ON m.key = c.meter
                 CROSS JOIN LATERAL (SELECT EXISTS (
                     SELECT FROM limit_overrides x, {_NOW} AS now_at
                     WHERE x.account_id = s.account_id AND x.meter = c.meter
                       AND x.effective_from <= now_at
                       AND now_at < coalesce(x.effective_to, 'infinity')) AS agreed) o
                 WHERE (:changing OR {_waits("'add_ons', 'plan'")})
                   AND b.account_id = s.account_id AND p.limits ? c.meter)
"""  # noqa: S608 - put together from constants
# True if an allowance was used in the current cycle; otherwise no share need be computed.
_HAS_USED = f"""
    (EXISTS (SELECT FROM usage_cycles c
             WHERE c.account_id = s.account_id AND c.owner = '' AND c.period_start >= s.cycle_start
               AND c.covered > 0)
     OR EXISTS (SELECT FROM quota_claims_in_force(s.account_id, {_NOW})))
"""  # noqa: S608 - put together from constants
# True if the parts for `rare` rows find any: a change to come, a minimum, time without payment, or
# money that went back.
_HAS_RARE = f"""
    (s.status = 'unpaid' OR s.unserved_since IS NOT NULL OR {_HAS_MINIMUM}
     OR EXISTS (SELECT FROM subscription_changes x
                WHERE x.subscription_id = s.id AND x.status IN {texts(UNDECIDED)})
     OR EXISTS (SELECT FROM refunds x JOIN invoices i ON i.id = x.invoice_id
                WHERE x.account_id = s.account_id AND i.subscription_id = s.id)
     OR EXISTS (SELECT FROM disputes x JOIN invoices i ON i.id = x.invoice_id
                WHERE x.account_id = s.account_id AND i.subscription_id = s.id))
"""  # noqa: S608 - put together from constants
_PLAN = "(to_jsonb(pl) || jsonb_build_object('monthly_credits', pl.monthly_credits::text))::text"


_READ = f"""
    WITH mine AS MATERIALIZED ({_INVOICES})
    SELECT to_jsonb(s) AS subscription, a.clock_at, a.is_test, {SELLER} AS issuer_id, a.zone,
           {_PLAN} AS plan,
           ARRAY(SELECT {_PLAN} FROM plans pl
                 WHERE :rare AND pl.id = ANY (ARRAY(
                     SELECT (x.terms ->> 'plan_id')::uuid FROM subscription_changes x
                     WHERE x.subscription_id = s.id
                       AND x.status IN {texts(UNDECIDED)}))) AS later_plans,
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
           ARRAY(SELECT DISTINCT x.meter FROM products x
                 WHERE :changing AND x.is_active) AS sold_meters,
           CASE WHEN :rare AND (:giving_back OR s.unserved_since IS NOT NULL OR {_WAITS})
                    AND {_HAS_USED}
                THEN usage_allowance_share(s.id, {_NOW})::text ELSE '0' END AS used_share,
           :rare AND s.unserved_since IS NOT NULL AND EXISTS (
               SELECT FROM subscription_changes x JOIN invoices i ON i.id = x.invoice_id
               WHERE x.subscription_id = s.id AND x.kind = 'plan' AND x.status = 'applied'
                 AND i.status IN ('open', 'uncollectible') AND x.decided_at >= (
                     SELECT max(u.start_at) FROM usage_periods u
                     WHERE u.subscription_id = s.id AND u.start_at <= s.unserved_since)
           ) AS owes_change,
           {reading.COLLECTED},
           {reading.REVISION},
           {reading.hanging("dunning_cases", "x.id")} AS cases,
           {ALL_PAUSED},
           {REVERSALS},
           {reading.METHODS} AS methods,
           ARRAY(SELECT to_jsonb(x) FROM subscription_changes x
                 WHERE x.subscription_id = s.id
                   AND (x.status IN {texts(UNDECIDED)}
                        -- Portions of add-ons in the period, and days that were given to it.
                        OR :deciding AND x.status = 'applied'
                           AND (x.invoice_id IS NOT NULL OR x.kind = 'extend')
                           AND x.decided_at >= s.current_period_start
                        -- A pause that has ended the cycle of one of these invoices, or changes
                        -- that have deducted its credits, or were charged by it.
                        OR :deciding AND x.status = 'applied' AND x.kind IN ('plan', 'resume')
                           AND x.decided_at >= (SELECT min(i.cycle_start) FROM mine i)
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
           {reading.EVENTS_ABOUT_PAYMENTS} AS waiting_events,
           NOT :rare AND {_HAS_RARE} AS has_rare
    FROM subscriptions s
    JOIN accounts a ON a.id = s.account_id
    JOIN plans pl ON pl.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT {period_paid.PERIOD_WENT_BACK} AS went_back, {period_paid.PERIOD_IS_LOST} AS is_lost
        {_PERIOD_PAID} AND :rare) paid
    WHERE s.id = :subject_id
    """  # noqa: S608 - put together from constants


@cache
def query(**asked: bool) -> Prepared:
    """Return the query for these flags, without the parts that they switch off.

    Otherwise Postgres would start and stop every part on each run. Without `rare`, the parts that
    few subscriptions have rows for are left out, and `has_rare` says whether this one has any.
    """
    query = _READ
    for name, value in asked.items():
        query = query.replace(f":{name}", str(value).lower())
    return Prepared(text(query))

"""The books added up anew, by queries of the tests' own: nothing here asks the product.

Each query answers the rows on which two sums differ, or an amount is impossible; `differences` is
empty when records, counters, ledger, lots, balances, holds, quotas and invoice lines agree.
"""

from collections.abc import Iterable
from typing import Final, Protocol
from uuid import UUID

from sandbox.control import Json

# What every record went into: the account, its user, its organisation; the cycle and the day.
_EXPECTED: Final = """
    SELECT account_id, owner, grain, bucket, meter, sum(units) AS units, sum(n) AS n FROM (
        SELECT account_id, meter, included_units + charged_units AS units, 1 AS n,
            unnest(ARRAY['', 'u:' || user_id, 'o:' || organization_id]) AS owner,
            period_start, day_at
        FROM billing_records WHERE kind = 'usage' AND account_id = ANY(%(mine)s)) r
    CROSS JOIN LATERAL (VALUES ('cycle', period_start), ('day', day_at)) AS b(grain, bucket)
    WHERE owner IS NOT NULL GROUP BY 1, 2, 3, 4, 5
"""
_KEPT: Final = """
    SELECT account_id, owner, b.grain, b.bucket, meter, sum(quantity) AS units, sum(events) AS n
    FROM usage_counters AS c
    CROSS JOIN LATERAL (VALUES ('cycle', c.period_start), ('day', c.bucket)) AS b(grain, bucket)
    WHERE account_id = ANY(%(mine)s) AND c.grain = 'day'
        AND (owner = '' OR left(owner, 2) IN ('u:', 'o:'))
    GROUP BY 1, 2, 3, 4, 5
"""

QUERIES: Final = {
    "a counter differs from its records": f"""
        SELECT * FROM ({_EXPECTED}) e FULL JOIN ({_KEPT}) k
            USING (account_id, owner, grain, bucket, meter)
        WHERE e.units IS DISTINCT FROM k.units OR e.n IS DISTINCT FROM k.n
    """,
    "a day's statistics differ from its records": """
        SELECT * FROM (
            SELECT account_id, day_at AS bucket, meter, concat_ws('|', coalesce(service_type, ''),
                    billing_method, billing_status, currency) AS facet,
                count(*) AS n, sum(total_amount) AS total
            FROM billing_records WHERE kind = 'usage' AND account_id = ANY(%(mine)s)
            GROUP BY 1, 2, 3, 4) r
        FULL JOIN (
            SELECT account_id, bucket, meter, facet, sum(events) AS n,
                sum(credits + overage_total) AS total
            FROM usage_counters
            WHERE account_id = ANY(%(mine)s) AND owner = '' AND grain = 'day' AND events <> 0
            GROUP BY 1, 2, 3, 4) c
        USING (account_id, bucket, meter, facet)
        WHERE r.n IS DISTINCT FROM c.n OR r.total IS DISTINCT FROM c.total
    """,
    "an event is there twice": """
        SELECT account_id, event_id, count(*) FROM billing_records
        WHERE account_id = ANY(%(mine)s) AND event_id IS NOT NULL
        GROUP BY 1, 2 HAVING count(*) > 1
    """,
    "an entry of the ledger differs from the records it paid": """
        SELECT * FROM (
            SELECT account_id, transaction_id AS id, sum(total_amount) AS total
            FROM billing_records
            WHERE account_id = ANY(%(mine)s) AND currency = 'CREDIT'
                AND (billing_status = 'completed'
                    OR billing_status = 'refunded' AND transaction_id IS NOT NULL)
                AND total_amount > 0 AND billing_method <> 'payment_charge'
            GROUP BY 1, 2) r
        FULL JOIN (
            SELECT account_id, id, debt - amount AS total FROM credit_transactions
            WHERE account_id = ANY(%(mine)s) AND kind = 'debit' AND reason LIKE 'usage: %%') t
        USING (account_id, id) WHERE r.total IS DISTINCT FROM t.total
    """,
    "ledger, lots and balance differ": """
        SELECT * FROM credit_balances b
        CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS booked, count(*) AS entries,
            coalesce(sum(debt), 0) AS owed
            FROM credit_transactions WHERE account_id = b.account_id) t
        CROSS JOIN LATERAL (SELECT coalesce(sum(remaining), 0) AS remaining,
            coalesce(sum(held), 0) AS lots_held FROM credit_lots WHERE account_id = b.account_id) l
        CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS set_aside
            FROM credit_holds WHERE account_id = b.account_id AND status = 'open') h
        WHERE account_id = ANY(%(mine)s) AND (
            booked <> balance OR remaining <> balance OR lots_held <> held OR set_aside <> held
            OR owed <> debt OR entries <> seq)
    """,
    "an entry of the ledger differs from its lots": """
        SELECT t.id, t.amount, sum(l.amount) FROM credit_transactions t
        LEFT JOIN credit_transaction_lots l ON l.transaction_id = t.id
        WHERE t.account_id = ANY(%(mine)s)
        GROUP BY t.id HAVING t.amount <> coalesce(sum(l.amount), 0)
    """,
    "something is negative": """
        SELECT account_id, 'balance' AS what FROM credit_balances
        WHERE least(balance, held, debt, balance - held) < 0 AND account_id = ANY(%(mine)s)
        UNION ALL SELECT account_id, 'lot' FROM credit_lots
        WHERE least(remaining, held, remaining - held) < 0 AND account_id = ANY(%(mine)s)
        UNION ALL SELECT account_id, 'counter ' || owner || ' ' || facet FROM usage_counters
        -- What takes a use back is below zero, and may be paid by another method than the use.
        WHERE least(quantity, events, credits, overage, overage_total) < 0
            AND account_id = ANY(%(mine)s) AND facet NOT LIKE '%%|refunded|%%'
    """,
    "a hold was captured for more than it held, or its capture is not booked": """
        SELECT h.id, h.captured, t.booked FROM (
            SELECT account_id, sum(captured) AS captured, min(id::text) AS id
            FROM credit_holds WHERE account_id = ANY(%(mine)s) AND captured <= amount
            GROUP BY 1) h
        FULL JOIN (
            SELECT account_id, -sum(amount) AS booked FROM credit_transactions
            WHERE account_id = ANY(%(mine)s) AND kind = 'capture' GROUP BY 1) t USING (account_id)
        WHERE coalesce(h.captured, 0) <> coalesce(t.booked, 0)
    """,
    "a hard quota gave more than its limit": """
        SELECT * FROM billing_quotas
        WHERE account_id = ANY(%(mine)s) AND is_hard AND used > limit_amount
    """,
    "a quota differs from the records and open claims under it": """
        SELECT q.id, q.owner, q.used, r.units, c.claimed FROM billing_quotas q
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(included_units + charged_units), 0) AS units
            FROM billing_records
            WHERE account_id = q.account_id AND meter = q.meter AND kind = 'usage' AND NOT is_late
                AND q.owner IN ('', 'u:' || user_id, 'o:' || organization_id)) r
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(amount), 0) AS claimed FROM quota_claims
            WHERE account_id = q.account_id AND meter = q.meter AND status = 'open'
                AND q.owner IN ('', 'u:' || user_id, 'o:' || organization_id)) c
        WHERE q.account_id = ANY(%(mine)s) AND q.used <> r.units + c.claimed
    """,
    "what was billed differs from the records behind it": """
        SELECT * FROM (
            SELECT account_id, meter, period_start, sum(charged_units) AS units,
                round(sum(total_amount) * 100, 6) AS cents
            FROM billing_records
            WHERE account_id = ANY(%(mine)s) AND currency = 'USD'
                AND billing_method = 'subscription_included'
                -- One that was taken back later stands on the invoice that has charged it.
                AND (billing_status = 'completed' OR id IN (
                    SELECT voids FROM billing_records
                    WHERE account_id = ANY(%(mine)s) AND billing_method = 'payment_charge'))
            GROUP BY 1, 2, 3) r
        FULL JOIN (
            SELECT account_id, detail ->> 'meter' AS meter, period_start, sum(quantity) AS units,
                sum(amount_minor) AS cents
            FROM invoice_lines WHERE account_id = ANY(%(mine)s) AND kind = 'usage'
            GROUP BY 1, 2, 3) l USING (account_id, meter, period_start)
        WHERE r.units IS DISTINCT FROM l.units OR r.cents IS DISTINCT FROM l.cents
    """,
    "a counter of overage differs from its records": """
        SELECT * FROM (
            SELECT account_id, meter, period_start AS bucket, sum(charged_units) AS units,
                sum(total_amount) AS total
            FROM billing_records
            WHERE account_id = ANY(%(mine)s) AND currency = 'USD' AND kind = 'usage'
                AND billing_method = 'subscription_included'
            GROUP BY 1, 2, 3) r
        FULL JOIN (
            SELECT account_id, meter, period_start AS bucket, sum(overage) AS units,
                sum(overage_total) AS total
            FROM usage_counters
            WHERE account_id = ANY(%(mine)s) AND owner = '' AND grain = 'day' AND overage <> 0
                AND facet NOT LIKE '%%|payment_charge|%%'
            GROUP BY 1, 2, 3) c
        USING (account_id, meter, bucket)
        WHERE coalesce(r.units, 0) <> coalesce(c.units, 0)
            OR coalesce(r.total, 0) <> coalesce(c.total, 0)
    """,
}


class Sql(Protocol):
    """Rows as the superuser sees them (`Actors.sql`)."""

    async def __call__(self, query: str, **values: object) -> list[Json]: ...


async def differences(sql: Sql, accounts: Iterable[UUID]) -> list[str]:
    """Every sum of these accounts that does not agree, with the first rows of each."""
    mine = list(accounts)
    found = []
    for what, query in QUERIES.items():
        rows = await sql(query, mine=mine)
        if rows:
            found.append(f"{what}, {len(rows)} times: {rows[:3]}")
    return found

"""Money of a period that went back: parts of queries in which `x` is an invoice that paid it."""

from typing import Final

from billing.matters.agenda import EARLY
from billing.money.invoices.schemas import CORRECTIONS, PRORATION, REVERSED
from billing.money.invoices.sums import LINE_TOTAL
from billing.money.refunds.remaining import KEPT

_OF_PERIOD: Final = ("plan", "add_on")
"""Kinds of the lines that charge for a period."""
_CORRECTED: Final = f"""(
    SELECT coalesce(sum(least(e.amount_minor, o.amount_minor)), 0)
    FROM credit_notes n
    JOIN balance_entries e ON e.key = replace(n.fact_key, '/', '/balance-credited-')
    CROSS JOIN LATERAL (
        SELECT sum((part ->> 'amount_minor')::bigint) AS amount_minor
        FROM jsonb_array_elements(n.lines) part
        JOIN invoice_lines l ON l.invoice_id = i.id AND l.position = (part ->> 'position')::int
        WHERE l.kind NOT IN {_OF_PERIOD}) o
    WHERE n.account_id = i.account_id AND n.invoice_id = i.id AND n.kind IN {CORRECTIONS}
      AND o.amount_minor > 0
      AND EXISTS (SELECT FROM credit_notes b
                  WHERE b.account_id = i.account_id AND b.invoice_id = i.id
                    AND b.kind IN {REVERSED} AND b.id > n.id))
"""  # noqa: S608 - put together from constants
"""Sums that corrections of its other charges, as of a voided use, put on the money balance before
money went back: that took what was left of the invoice first, so it was the period's. A correction
that comes later ends nothing: it may return money of the period, in place of what had gone back as
if it were for the period.
"""
_SURPLUS: Final = f"""(
    SELECT coalesce(sum(e.amount_minor), 0) FROM balance_entries e
    WHERE e.account_id = i.account_id AND e.invoice_id = i.id AND e.kind IN {KEPT})
"""  # noqa: S608 - put together from constants
"""Its overpaid amount on the money balance, which goes back first."""
_PAID: Final = f"greatest(0, i.amount_paid_minor + i.balance_applied_minor + {_SURPLUS})"
"""The money that an invoice took beyond a debt that was carried to it; none if it was forgiven
with that.
"""
_BY_BANKS: Final = """(
    SELECT coalesce(sum(d.amount_minor), 0) FROM disputes d
    WHERE d.account_id = i.account_id AND d.invoice_id = i.id
      AND d.state = 'lost' AND d.booked_at IS NOT NULL)
"""
_DEBT: Final = f"least({_BY_BANKS}, greatest(0, -i.balance_applied_minor))"
"""The part of what banks took that had paid a carried debt: it comes first, and is owed again."""
_GONE: Final = f"""
    i.amount_refunded_minor - {_DEBT} + (
        SELECT coalesce(sum(d.loss_minor), 0) FROM disputes d
        WHERE d.account_id = i.account_id AND d.invoice_id = i.id AND d.state = 'lost')
"""  # noqa: S608 - put together from constants
"""Its money that went back, even if it was credited before and a lost dispute was our loss."""
_TAKEN: Final = f"{_BY_BANKS} - {_DEBT}"
_FROM_BALANCE: Final = f"""greatest(0, (
    SELECT coalesce(sum(d.balance_minor), 0) FROM disputes d
    WHERE d.account_id = i.account_id AND d.invoice_id = i.id
      AND d.state = 'lost' AND d.booked_at IS NOT NULL) - {_DEBT} - {_SURPLUS})
"""  # noqa: S608 - put together from constants
"""The part of it from the money balance on which corrections had put it."""
_KEPT: Final = """(
    SELECT coalesce(sum(r.amount_minor), 0) FROM refunds r
    WHERE r.invoice_id = i.id AND r.keep_subscription AND r.status <> 'failed')
"""
"""Its money that an operator refunded, but kept the subscription."""
_OWN_SHARE: Final = f"""(
    SELECT coalesce(sum({LINE_TOTAL}), 0)
    FROM invoice_lines l WHERE l.invoice_id = i.id AND l.kind IN {_OF_PERIOD})
"""  # noqa: S608 - put together from constants
_WENT_BACK: Final = "CASE WHEN x.took_money AND x.share > 0 THEN x.gone >= x.paid END"
"""Null if it took no money: it was forgiven or carried, and `bool_and` passes over it."""
_BANKS: Final = """
    2 * sum(greatest(0, x.taken - (x.paid - x.share)))
    > sum(least(x.share, greatest(0, x.paid - x.kept)))
"""
"""Banks take first the money for something else, as for use of the period before."""
PERIOD_WENT_BACK: Final = f"coalesce(bool_and({_WENT_BACK}) OR {_BANKS}, false)"
"""True if all money of the invoices went back, or banks took more than half of it: a few cents of
another invoice, or of the money balance, do not pay for a plan.
"""
PERIOD_IS_LOST: Final = f"coalesce(bool_and({_WENT_BACK}) AND sum(x.kept) = 0 OR {_BANKS}, false)"
"""True if the period is not served any more: the money went back, and not as a gift. What an
operator gave back is no permission for a bank to take the rest.
"""


def paid_invoices(subscription: str, since: str, until: str = "'infinity'") -> str:
    """Return FROM and WHERE of all invoices `x` that paid for the plan and its add-ons, and of
    those whose unused time they credit, with the `share` of their money that paid for it.

    The arguments are columns of the query around it.
    """
    return f"""
    FROM (
        WITH RECURSIVE source(id, own_share, moved) AS (
            SELECT i.id, {_OWN_SHARE}, 0::numeric
            FROM invoices i
            WHERE i.subscription_id = {subscription} AND i.created_at >= {since} - {EARLY}
              AND i.status = 'paid'
              AND EXISTS (SELECT FROM invoice_lines l
                          WHERE l.invoice_id = i.id AND l.kind IN {_OF_PERIOD}
                            AND l.period_start >= {since} AND l.period_start < {until})
            UNION ALL
            SELECT c.id, 0::numeric, least(o.own_share + o.moved, c.credited)
            FROM source o CROSS JOIN LATERAL (
                SELECT (l.detail ->> 'invoice')::uuid AS id, -sum({LINE_TOTAL}) AS credited
                FROM invoice_lines l
                WHERE l.invoice_id = o.id AND l.kind = '{PRORATION}' GROUP BY 1) c),
        money AS (
            SELECT i.id, {_PAID} AS paid, {_GONE} AS gone, {_TAKEN} AS taken, {_KEPT} AS kept,
                   c.corrected,
                   CASE WHEN c.corrected > 0 THEN {_FROM_BALANCE} ELSE 0 END AS corrected_gone,
                   i.amount_paid_minor + i.balance_applied_minor > 0 AS took_money, s.share
            FROM (SELECT id, greatest(max(own_share), sum(moved)) AS share
                  FROM source GROUP BY id) s
            -- Looked up one by one, for a join would read all that its account ever had.
            CROSS JOIN LATERAL (SELECT * FROM invoices n WHERE n.id = s.id OFFSET 0) i
            CROSS JOIN LATERAL (SELECT {_CORRECTED} AS corrected OFFSET 0) c)
        SELECT r.paid, gone, taken - least(corrected, corrected_gone) AS taken, kept, took_money,
               least(r.paid, share) AS share
        FROM money m CROSS JOIN LATERAL (SELECT greatest(0, m.paid - corrected) AS paid) r) x
    WHERE true
    """  # noqa: S608 - put together from constants

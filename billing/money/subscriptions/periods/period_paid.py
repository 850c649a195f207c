"""Money of a period that went back: parts of queries in which `x` is an invoice that paid it."""

from typing import Final

from billing.matters.agenda import EARLY
from billing.money.invoices.schemas import PRORATION
from billing.money.invoices.sums import LINE_TOTAL
from billing.money.refunds.remaining import KEPT

_PAID: Final = f"""greatest(0, i.amount_paid_minor + i.balance_applied_minor + (
    SELECT coalesce(sum(e.amount_minor), 0) FROM balance_entries e
    WHERE e.account_id = i.account_id AND e.invoice_id = i.id AND e.kind IN {KEPT}))
"""  # noqa: S608 - put together from constants
"""The money that an invoice took beyond a debt that was carried to it; none if it was forgiven
with that. An overpaid amount on the money balance goes back first.
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
_KEPT: Final = """(
    SELECT coalesce(sum(r.amount_minor), 0) FROM refunds r
    WHERE r.invoice_id = i.id AND r.keep_subscription AND r.status <> 'failed')
"""
"""Its money that an operator refunded, but kept the subscription."""
_OWN_SHARE: Final = f"""(
    SELECT coalesce(sum({LINE_TOTAL}), 0)
    FROM invoice_lines l WHERE l.invoice_id = i.id AND l.kind IN ('plan', 'add_on'))
"""  # noqa: S608 - put together from constants
_WENT_BACK: Final = "CASE WHEN x.took_money AND x.share > 0 THEN x.gone >= x.paid END"
"""Null if it took no money: it was forgiven or carried, and `bool_and` passes over it."""
_BANKS: Final = """
    2 * sum(greatest(0, x.taken - (x.paid - x.share))) > sum(least(x.share, x.paid - x.kept))
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
                          WHERE l.invoice_id = i.id AND l.kind IN ('plan', 'add_on')
                            AND l.period_start >= {since} AND l.period_start < {until})
            UNION ALL
            SELECT c.id, 0::numeric, least(o.own_share + o.moved, c.credited)
            FROM source o CROSS JOIN LATERAL (
                SELECT (l.detail ->> 'invoice')::uuid AS id, -sum({LINE_TOTAL}) AS credited
                FROM invoice_lines l
                WHERE l.invoice_id = o.id AND l.kind = '{PRORATION}' GROUP BY 1) c),
        money AS (
            SELECT i.id, {_PAID} AS paid, {_GONE} AS gone, {_TAKEN} AS taken, {_KEPT} AS kept,
                   i.amount_paid_minor + i.balance_applied_minor > 0 AS took_money, s.share
            FROM (SELECT id, greatest(max(own_share), sum(moved)) AS share
                  FROM source GROUP BY id) s
            -- Looked up one by one, for a join would read all that its account ever had.
            CROSS JOIN LATERAL (SELECT * FROM invoices n WHERE n.id = s.id OFFSET 0) i)
        SELECT paid, gone, taken, kept, took_money, least(paid, share) AS share FROM money) x
    WHERE true
    """  # noqa: S608 - put together from constants

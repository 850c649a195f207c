"""Money of a period that went back: parts of queries in which `x` is one of its invoices."""

from typing import Final

from billing.money.refunds.left import KEPT

_PAID: Final = f"""
    x.amount_paid_minor + x.balance_applied_minor + (
        SELECT coalesce(sum(e.amount_minor), 0) FROM balance_entries e
        WHERE e.account_id = x.account_id AND e.invoice_id = x.id AND e.kind IN {KEPT})
"""  # noqa: S608 - put together from constants
"""The money that an invoice took. An overpaid amount on the money balance goes back first."""
_WENT_BACK: Final = f"""
    CASE WHEN x.amount_paid_minor + x.balance_applied_minor > 0 THEN
        x.amount_refunded_minor + (
            SELECT coalesce(sum(d.loss_minor), 0) FROM disputes d
            WHERE d.account_id = x.account_id AND d.invoice_id = x.id AND d.state = 'lost')
        >= {_PAID}
    END
"""  # noqa: S608 - put together from constants
"""True if all money of the invoice went back, even if it was credited before and a lost dispute was
our loss. Null if it took no money: it was forgiven or carried, and `bool_and` passes over it.
"""
_TAKEN: Final = """(
    SELECT coalesce(sum(d.amount_minor), 0) FROM disputes d
    WHERE d.account_id = x.account_id AND d.invoice_id = x.id
      AND d.state = 'lost' AND d.booked_at IS NOT NULL)
"""
_KEPT: Final = """(
    SELECT coalesce(sum(r.amount_minor), 0) FROM refunds r
    WHERE r.invoice_id = x.id AND r.keep_subscription AND r.status <> 'failed')
"""
"""The money of the invoice that an operator refunded, but kept the subscription."""
_BESIDE: Final = f"""greatest(0, {_PAID} - (
    SELECT coalesce(sum(l.amount_minor - l.discount_minor + l.tax_minor - l.tax_included_minor), 0)
    FROM invoice_lines l WHERE l.invoice_id = x.id AND l.kind IN ('plan', 'add_on')))
"""  # noqa: S608 - put together from constants
"""The money for its other lines, as for use of the period before. A bank takes that first."""
_BANKS: Final = f"""
    2 * sum(greatest(0, {_TAKEN} - {_BESIDE})) > sum({_PAID} - greatest({_BESIDE}, {_KEPT}))
"""
PERIOD_WENT_BACK: Final = f"coalesce(bool_and({_WENT_BACK}) OR {_BANKS}, false)"
"""True if all money of the invoices went back, or banks took more than half of it: a few cents of
another invoice, or of the money balance, do not pay for a plan.
"""
PERIOD_IS_LOST: Final = f"coalesce(bool_and({_WENT_BACK}) AND sum({_KEPT}) = 0 OR {_BANKS}, false)"
"""True if the period is not served any more: the money went back, and not as a gift. What an
operator gave back is no permission for a bank to take the rest.
"""


def paid_invoices(subscription: str, since: str, until: str = "'infinity'") -> str:
    """Return FROM and WHERE of all invoices `x` that paid for the plan and its add-ons.

    The arguments are columns of the query around it.
    """
    return f"""
    FROM invoices x
    WHERE x.subscription_id = {subscription} AND x.created_at >= {since}
      AND x.status = 'paid' AND x.total_minor > 0
      AND EXISTS (SELECT FROM invoice_lines l
                  WHERE l.invoice_id = x.id AND l.kind IN ('plan', 'add_on')
                    AND l.period_start >= {since} AND l.period_start < {until})
    """

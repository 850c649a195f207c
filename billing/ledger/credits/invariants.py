"""The invariants of the credit tables at every commit, one query each.

For the integrity checks: each row a rule finds is a violation, with the account, the sum that the
rows state and the sum they add up to. The rules run on a list of accounts
(billing/insight/integrity/narrowed.py), whose parts are found by entry and hold, and by lot.
"""

from typing import Final


def _sums(stated: str, counted: str) -> str:
    """Return SQL for accounts whose balance row differs from `counted`, a sum by account, or is
    missing.
    """
    return (
        f"SELECT account_id, b.{stated} AS stated, coalesce(c.sum, 0) AS counted"  # noqa: S608
        f" FROM credit_balances b FULL JOIN ({counted}) c USING (account_id)"
        f" WHERE b.{stated} IS DISTINCT FROM coalesce(c.sum, 0)"
    )


def _by_account(stated: str, what: str, rows: str) -> str:
    """Return `_sums` for a sum over the rows of a table."""
    counted = f"SELECT account_id, sum({what}) AS sum FROM {rows} GROUP BY account_id"  # noqa: S608
    return _sums(stated, counted)


RULES: Final[dict[str, str]] = {
    "the balance is the sum of the ledger": _by_account("balance", "amount", "credit_transactions"),
    "the balance is the sum of the lots": _by_account("balance", "remaining", "credit_lots"),
    "what is held is held in lots": _by_account("held", "held", "credit_lots"),
    "what is held is held by open holds": _by_account(
        "held", "amount", "credit_holds WHERE status = 'open'"
    ),
    "what was used is the sum of debits and captures, less what was given back": _by_account(
        "used", "debt - amount", "credit_transactions WHERE kind IN ('debit', 'capture', 'void')"
    ),
    "what is owed is what forced debits left and grants have not paid": _by_account(
        "debt", "debt", "credit_transactions"
    ),
    "the ledger is numbered without a gap": _sums(
        "seq",
        "SELECT account_id, CASE WHEN min(seq) = 1 AND max(seq) = count(DISTINCT seq)"
        " AND count(*) = max(seq) THEN max(seq) ELSE -1 END AS sum"
        " FROM credit_transactions GROUP BY account_id",
    ),
    "each entry carries the balance after it": """
        SELECT account_id, balance_after AS stated, counted FROM (
            SELECT account_id, balance_after,
                sum(amount) OVER (PARTITION BY account_id ORDER BY seq) AS counted
            FROM credit_transactions) entries
        WHERE balance_after <> counted""",
    "each entry is split over lots to the last digit": """
        SELECT t.account_id, t.amount AS stated, coalesce(l.sum, 0) AS counted
        FROM credit_transactions t
        LEFT JOIN (
            SELECT transaction_id, sum(amount) AS sum FROM credit_transaction_lots
            GROUP BY transaction_id) l ON l.transaction_id = t.id
        WHERE t.amount <> coalesce(l.sum, 0)""",
    "each lot has left what its entries leave": """
        SELECT l.account_id, l.remaining AS stated, coalesce(t.sum, 0) AS counted,
            public_id('lot', l.id) AS subject
        FROM credit_lots l
        LEFT JOIN (
            SELECT lot_id, account_id, sum(amount) AS sum FROM credit_transaction_lots
            GROUP BY lot_id, account_id) t ON t.lot_id = l.id AND t.account_id = l.account_id
        WHERE l.remaining <> coalesce(t.sum, 0)""",
    # The entry with its key granted it. Any later grant gives back what clawbacks took of it.
    "each lot was granted, and clawed back, as its entries say": """
        SELECT l.account_id, l.amount - l.clawed AS stated, e.granted - e.clawed AS counted,
            public_id('lot', l.id) AS subject
        FROM credit_lots l
        LEFT JOIN (
            SELECT p.lot_id, sum(p.amount) FILTER (WHERE t.key = o.grant_key) AS granted,
                coalesce(-sum(p.amount) FILTER (
                    WHERE t.kind IN ('grant', 'clawback') AND t.key <> o.grant_key), 0) AS clawed
            FROM credit_transactions t
            JOIN credit_transaction_lots p ON p.transaction_id = t.id
            JOIN credit_lots o ON o.id = p.lot_id AND o.account_id = t.account_id
            WHERE t.kind IN ('grant', 'clawback', 'void')
            GROUP BY p.lot_id) e ON e.lot_id = l.id
        WHERE l.granted_seq > 0 AND (l.amount, l.clawed) IS DISTINCT FROM (e.granted, e.clawed)""",
    "each hold is made of its parts": """
        SELECT h.account_id, h.amount AS stated, coalesce(p.sum, 0) AS counted,
            public_id('hld', h.id) AS subject
        FROM credit_holds h
        LEFT JOIN (SELECT hold_id, sum(amount) AS sum FROM credit_hold_lots GROUP BY hold_id) p
               ON p.hold_id = h.id
        WHERE h.amount <> coalesce(p.sum, 0)""",
    "a captured hold has its one entry": """
        SELECT h.account_id, h.captured AS stated, coalesce(-t.amount, 0) AS counted
        FROM credit_holds h
        LEFT JOIN credit_transactions t
               ON t.key = public_id('hld', h.id) || '/capture' AND t.account_id = h.account_id
        WHERE h.captured <> coalesce(-t.amount, 0)""",
    "a part belongs to an entry and a lot of its account": """
        SELECT t.account_id, p.amount AS stated, 0 AS counted
        FROM credit_transactions t JOIN credit_transaction_lots p ON p.transaction_id = t.id
        LEFT JOIN credit_lots l ON l.id = p.lot_id AND l.account_id = t.account_id
        WHERE l.id IS NULL OR p.account_id <> t.account_id
        UNION ALL
        SELECT l.account_id, p.amount AS stated, 0 AS counted
        FROM credit_lots l JOIN parts_of_lots p ON p.lot_id = l.id
        LEFT JOIN credit_transactions t ON t.id = p.transaction_id AND t.account_id = l.account_id
        WHERE t.id IS NULL OR p.account_id <> l.account_id
        UNION ALL
        SELECT h.account_id, p.amount AS stated, 0 AS counted
        FROM credit_holds h JOIN credit_hold_lots p ON p.hold_id = h.id
        LEFT JOIN credit_lots l ON l.id = p.lot_id AND l.account_id = h.account_id
        WHERE l.id IS NULL OR p.account_id <> h.account_id
        UNION ALL
        SELECT l.account_id, p.amount AS stated, 0 AS counted
        FROM credit_lots l JOIN hold_parts_of_lots p ON p.lot_id = l.id
        LEFT JOIN credit_holds h ON h.id = p.hold_id AND h.account_id = l.account_id
        WHERE h.id IS NULL OR p.account_id <> l.account_id""",
}
NAMED: Final = frozenset(
    {
        "each lot has left what its entries leave",
        "each lot was granted, and clawed back, as its entries say",
        "each hold is made of its parts",
    }
)
"""Rules whose violations name a subject of their own; others name only the account."""

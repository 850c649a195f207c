"""The chart of accounts: the names under which the export books postings [Q9].

docs/operate.md#accounting explains each; a test compares the two.
"""

from typing import Final, Literal

LedgerAccount = Literal[
    "receivable", "cash", "revenue", "tax", "customer_balance", "disputes", "adjustments"
]
Side = Literal["debit", "credit"]

CHART: Final[dict[LedgerAccount, Side]] = {
    "receivable": "debit",
    "cash": "debit",
    "revenue": "credit",
    "tax": "credit",
    "customer_balance": "credit",
    "disputes": "debit",
    "adjustments": "debit",
}
"""Each account, with the side on which it grows."""

"""Contracts with single accounts. A version that was ever in force keeps its row: a change ends it
and begins the next one.
"""

from billing.core import columns as c

contracts = c.table(
    "contracts",
    c.row_id(),
    c.account(),
    # The contract's number, known to both sides.
    c.text("reference", nullable=True),
    # billing.money.contracts.schemas.ContractTerms.
    c.json("terms"),
    c.instant("effective_from"),
    c.instant("effective_to", nullable=True),
    c.instant("created_at"),
    c.whole_key(),
    c.check("effective_from < effective_to", name="forward"),
    c.index("uq_contracts_account", "account_id", "effective_from", unique=True),
)

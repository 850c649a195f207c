"""The sums of an account's postings, and what the tables' own totals say they are [Q9].

The export follows documents; this counts what is left on the rows: what invoices still ask for, the
money that is here, the tax of lines and notes.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database
from billing.insight.accounting import store
from billing.insight.accounting.rules import Posting

Sums = Mapping[tuple[str, str], int]
"""By currency and account of the chart; without zeros."""
ALWAYS: Final = (date(2000, 1, 1), date(2999, 12, 31))

# What a row says of one account of the chart: each SELECT is a currency and an amount.
STORED: Final = {
    "receivable": """
        SELECT currency, amount_due_minor - amount_paid_minor - amount_credited_minor
               - CASE status WHEN 'draft' THEN total_minor ELSE 0 END
        FROM invoices WHERE account_id = :account AND status <> 'void'
        -- What left the balance, or bought nothing, and is on its way back to its payer.
        UNION ALL
        SELECT currency, -CASE WHEN starts_with(key, 'pay_') THEN amount_minor
                               ELSE balance_minor END
        FROM refunds
        WHERE account_id = :account AND status <> 'failed' AND booked_at IS NULL
        -- What bought nothing before a bank took it.
        UNION ALL
        SELECT currency, note_minor + balance_minor + loss_minor - amount_minor
        FROM disputes
        WHERE account_id = :account AND state = 'lost' AND booked_at IS NOT NULL
    """,
    "cash": """
        SELECT currency, received_minor FROM payments
        WHERE account_id = :account AND settled_at IS NOT NULL
        UNION ALL
        SELECT currency, amount_minor FROM balance_entries
        WHERE account_id = :account AND kind = 'found'
        UNION ALL
        SELECT currency, -amount_minor FROM refunds
        WHERE account_id = :account AND status <> 'failed' AND booked_at IS NOT NULL
          AND way <> 'balance'
        UNION ALL
        SELECT currency, -amount_minor FROM disputes
        WHERE account_id = :account AND state = 'lost' AND booked_at IS NOT NULL
    """,
    "revenue": """
        SELECT i.currency, sum(l.tax_minor) - greatest(
            0, sum(l.amount_minor - l.discount_minor + l.tax_minor - l.tax_included_minor))
        FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id
        WHERE i.account_id = :account AND i.number IS NOT NULL GROUP BY i.id, i.currency
        UNION ALL
        SELECT currency, amount_minor - tax_minor FROM credit_notes WHERE account_id = :account
    """,
    "tax": """
        SELECT i.currency, -l.tax_minor
        FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id
        WHERE i.account_id = :account AND i.number IS NOT NULL
        UNION ALL
        SELECT n.currency, CAST(t ->> 'amount_minor' AS bigint)
        FROM credit_notes n CROSS JOIN jsonb_array_elements(n.taxes) t
        WHERE n.account_id = :account
    """,
    "customer_balance": """
        SELECT currency, -amount_minor FROM balance_entries WHERE account_id = :account
    """,
    "adjustments": """
        SELECT currency, amount_minor FROM balance_entries
        WHERE account_id = :account AND kind = 'adjusted'
    """,
    # Our loss, and of open disputes what left the balance.
    "disputes": """
        SELECT currency, CASE WHEN state = 'lost' AND booked_at IS NOT NULL
                              THEN amount_minor - note_minor - balance_minor
                              ELSE -balance_minor END
        FROM disputes WHERE account_id = :account AND state IN ('open', 'lost')
    """,
}


async def demand_agreement(database: Database, account_id: UUID) -> None:
    """Fail unless the postings of an account sum to what its rows say, seen at one moment."""
    async with database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        told, kept = await exported(connection, account_id), await stored(connection, account_id)
        assert told == kept, f"{told} is not {kept}"


async def stored(connection: AsyncConnection, account_id: UUID) -> Sums:
    """Return the sums by the tables' own totals."""
    sums = Counter[tuple[str, str]]()
    for name, query in STORED.items():
        rows = await connection.execute(text(query), {"account": account_id})
        for currency, minor in rows:
            sums[currency, name] += int(minor)
    return {key: minor for key, minor in sums.items() if minor}


async def exported(connection: AsyncConnection, account_id: UUID) -> Sums:
    """Return the sums of the account's postings, each of which has an id of its own; those of one
    document must sum to zero.
    """
    found = await postings(connection, account_id)
    sums, documents = Counter[tuple[str, str]](), Counter[str]()
    for one in found:
        sums[one.currency, one.ledger_account] += one.amount_minor
        documents[one.document_id] += one.amount_minor
    assert not any(documents.values()), documents
    assert len({one.posting_id for one in found}) == len(found)
    return {key: minor for key, minor in sums.items() if minor}


async def postings(connection: AsyncConnection, account_id: UUID) -> list[Posting]:
    """Return every posting of an account."""
    found, mark = await store.page(connection, store.AskedDays(*ALWAYS, account_id), None)
    while mark is not None:
        more, mark = await store.page(connection, store.AskedDays(*ALWAYS, account_id), mark)
        found += more
    return found

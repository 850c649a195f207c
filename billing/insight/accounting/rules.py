"""The postings of a document: one for each account of the chart that it changes. Pure."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from billing.core import ids
from billing.core.money import exponent
from billing.insight.accounting.chart import CHART, LedgerAccount, Side


class Document(NamedTuple):
    """A fact of the books with its day; `minor` is debited to each account, or credited if it is
    negative.
    """

    kind: str
    name: str
    number: str
    account_id: UUID
    day: date
    currency: str
    minor: Mapping[LedgerAccount, int]
    issuer: str | None = None
    """The key of its invoice's seller; None: it has no invoice, or that names none."""


class Posting(NamedTuple):
    """One debit or credit; `posting_id` is the same in every export."""

    posting_id: str
    date: date
    account_id: str
    document: str
    document_id: str
    document_number: str
    ledger_account: LedgerAccount
    side: Side
    amount_minor: int
    currency: str
    amount: Decimal
    issuer: str
    """The seller's key; empty: none."""


COLUMNS: Final = Posting._fields


def postings(document: Document) -> list[Posting]:
    """Return the postings of a document; their `amount_minor` sum to zero."""
    if sum(document.minor.values()):
        raise ValueError(f"{document.name}: debits and credits differ")
    digits = exponent(document.currency)
    return [
        Posting(
            posting_id=f"{document.name}/{ledger_account}",
            date=document.day,
            account_id=ids.encode(ids.ACCOUNT, document.account_id),
            document=document.kind,
            document_id=document.name,
            document_number=document.number,
            ledger_account=ledger_account,
            side="debit" if minor > 0 else "credit",
            amount_minor=minor,
            currency=document.currency,
            amount=Decimal(minor).scaleb(-digits),
            issuer=document.issuer or "",
        )
        for ledger_account in CHART
        if (minor := document.minor.get(ledger_account, 0))
    ]

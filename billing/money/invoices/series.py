"""Names of the series of numbers: an issuer has one of invoices and one of credit notes. Pure."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from billing.core import ids

INVOICES: Final = "INV"
CREDIT_NOTES: Final = "CN"
OF_TESTS: Final = "TEST-"
"""The series of test accounts begin with it, and no others."""
DIGITS: Final = 6
"""A number has at least so many digits, zeros before it."""


def of_issuer(kind: str, issuer_id: UUID | None) -> str:
    """Return the series of an issuer; invoices without an issuer have the bare name."""
    if issuer_id is None:
        return kind
    return f"{kind}-{ids.encode(ids.ISSUER, issuer_id)[-6:].upper()}"


def of_test(kind: str, account_id: UUID) -> str:
    """Return the series of a test account, which is its own, because its clock is its own."""
    return f"{OF_TESTS}{ids.encode(ids.ACCOUNT, account_id)[-10:].upper()}-{kind}"


def of_all(issuers: Iterable[UUID]) -> list[str]:
    """Return every series of these issuers, and those without an issuer, in order."""
    kinds, sellers = (INVOICES, CREDIT_NOTES), (None, *issuers)
    return sorted(of_issuer(kind, one) for kind in kinds for one in sellers)

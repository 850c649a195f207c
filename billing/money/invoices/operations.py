"""The operations on invoices that decisions ask for (`billing.matters.effects.Do`)."""

from typing import Final, TypedDict
from uuid import UUID

from billing.matters.effects import Operation


class OfAccount(TypedDict):
    """The account that a verb is about."""

    account_id: UUID


class KeptSnapshot(TypedDict):
    """An invoice that gets its number, with its amounts in minor units."""

    invoice_id: UUID
    applied: int
    due: int
    paid: int


OWE_TAX: Final = Operation[OfAccount]("owe_tax")
"""The verb that has tax credited which an account should not have been charged."""
KEEP_SNAPSHOT: Final = Operation[KeptSnapshot]("keep_snapshot")
"""The verb that stores the seller and the customer with an invoice that gets its number."""
LEAVE_CURRENCY: Final = Operation[OfAccount]("leave_currency")
"""The verb that unsets the currency of an account that was never billed and never paid."""

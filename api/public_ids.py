"""Ids as callers know them: shown in answers, and read from paths and bodies."""

from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, StringConstraints

from api.problem_codes import not_found
from billing.core import ids


def encoded(prefix: str) -> BeforeValidator:
    """Shows a UUID as the external id with this prefix."""
    return BeforeValidator(
        lambda value: ids.encode(prefix, value) if isinstance(value, UUID) else value
    )


def row_id(code: str, prefix: str, name: str) -> UUID:
    """The row id behind a public id; raises `code` for anything that is no such id."""
    found = ids.parse(prefix, name)
    if found is None:
        raise not_found(code)
    return found


def payment_method_row(name: str | None) -> UUID | None:
    """The row id of the payment method that a body names. Errors: NOT_FOUND for no such id."""
    return ids.decode(ids.PAYMENT_METHOD, name) if name else None


AccountId = Annotated[str, encoded(ids.ACCOUNT)]
DunningCaseId = Annotated[str, encoded(ids.DUNNING_CASE)]
InvoiceId = Annotated[str, encoded(ids.INVOICE)]
LotId = Annotated[str, encoded(ids.LOT)]
PaymentId = Annotated[str, encoded(ids.PAYMENT)]
PaymentMethodId = Annotated[str, encoded(ids.PAYMENT_METHOD)]
PurchaseId = Annotated[str, encoded(ids.PURCHASE)]
SubscriptionId = Annotated[str, encoded(ids.SUBSCRIPTION)]
TransactionId = Annotated[str, encoded(ids.TRANSACTION)]

PaymentMethodName = Annotated[str, StringConstraints(max_length=40)]
"""A saved payment method in a body: its id, checked by `payment_method_row`."""

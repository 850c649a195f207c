"""Ids as callers know them: shown in answers, and read from paths and bodies."""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

from pydantic import BeforeValidator, StringConstraints

from billing.core import ids
from billing.core.errors import NotFound


def encoded(prefix: str) -> BeforeValidator:
    """Show a UUID as the external id with this prefix."""
    return BeforeValidator(
        lambda value: ids.encode(prefix, value) if isinstance(value, UUID) else value
    )


# The code for an object that never existed, is another account's, or has a malformed id.
_CODES: Final = {
    ids.ADDRESS: "ADDRESS_NOT_FOUND",
    ids.BILLING_RECORD: "BILLING_RECORD_NOT_FOUND",
    ids.BUDGET: "BUDGET_NOT_FOUND",
    ids.CHANGE: "CHANGE_NOT_FOUND",
    ids.CREDIT_NOTE: "CREDIT_NOTE_NOT_FOUND",
    ids.DUNNING_CASE: "DUNNING_CASE_NOT_FOUND",
    ids.HOLD: "HOLD_NOT_FOUND",
    ids.INVOICE: "INVOICE_NOT_FOUND",
    ids.MIGRATION_REQUEST: "MIGRATION_REQUEST_NOT_FOUND",
    ids.PAYMENT: "PAYMENT_NOT_FOUND",
    ids.PAYMENT_METHOD: "PAYMENT_METHOD_NOT_FOUND",
    ids.PURCHASE: "PURCHASE_NOT_FOUND",
    ids.QUOTA: "QUOTA_NOT_FOUND",
    ids.RECONCILIATION: "RECONCILIATION_NOT_FOUND",
    ids.SUBSCRIPTION: "SUBSCRIPTION_NOT_FOUND",
    ids.TRANSACTION: "NOT_FOUND",
}


def row_id(prefix: str, name: str) -> UUID:
    """Return the row id behind a public id; a malformed id is answered like an unknown one."""
    found = ids.parse(prefix, name)
    if found is None:
        raise NotFound(_CODES[prefix])
    return found


def payment_method_row(name: str | None) -> UUID | None:
    """Return the row id of the payment method that a body names, if any."""
    return row_id(ids.PAYMENT_METHOD, name) if name is not None else None


def invoice_rows(names: Sequence[str] | None) -> list[UUID] | None:
    """Return the row ids of the invoices that a body names, if any."""
    return [row_id(ids.INVOICE, one) for one in names] if names is not None else None


AccountId = Annotated[str, encoded(ids.ACCOUNT)]
AddressId = Annotated[str, encoded(ids.ADDRESS)]
AttemptId = Annotated[str, encoded(ids.ATTEMPT)]
ChangeId = Annotated[str, encoded(ids.CHANGE)]
DunningCaseId = Annotated[str, encoded(ids.DUNNING_CASE)]
InvoiceId = Annotated[str, encoded(ids.INVOICE)]
LotId = Annotated[str, encoded(ids.LOT)]
MigrationRequestId = Annotated[str, encoded(ids.MIGRATION_REQUEST)]
PaymentId = Annotated[str, encoded(ids.PAYMENT)]
PaymentMethodId = Annotated[str, encoded(ids.PAYMENT_METHOD)]
PurchaseId = Annotated[str, encoded(ids.PURCHASE)]
ReconciliationId = Annotated[str, encoded(ids.RECONCILIATION)]
SubscriptionId = Annotated[str, encoded(ids.SUBSCRIPTION)]
TransactionId = Annotated[str, encoded(ids.TRANSACTION)]

PaymentMethodName = Annotated[str, StringConstraints(max_length=40)]
"""A saved payment method in a body: its id, checked by `payment_method_row`."""
InvoiceName = Annotated[str, StringConstraints(max_length=40)]
"""An invoice in a body: its id, checked by `invoice_rows`."""

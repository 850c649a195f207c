"""The customer's money balance, and each entry with its cause."""

from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import Field

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import InvoiceId, PaymentId
from api.answers.schemas import Answer
from api.dependencies import MemberRead
from api.routes.base import new_router
from api.user_scope import is_member
from billing.money.invoices import balances
from billing.money.invoices.schemas import BalanceEntry
from billing.money.invoices.tables import balance_entries

router = new_router("balance")

CAUSES: Final = {
    "adjusted": "an operator adjusted it",
    "applied": "it paid for an invoice",
    "carried": "too little for a card: the next invoice collects it",
    "credited": "a credit note on an invoice that was paid",
    "dispute_won": "a bank gave back what it had taken",
    "found": "money of a payment that a restore had lost",
    "noted": "a credit note took what had left it for a refund or dispute",
    "overpaid": "more was paid than the invoice asked for",
    "refund_failed": "a refund that its payer's bank did not take",
    "refunded": "money of it was refunded, or a bank took it back",
    "returned": "the invoice it was paid for became void",
    "unasked": "money that came although nothing was owed",
}
"""Each kind of entry, in a sentence for people."""


class BalanceEntryAnswer(Answer):
    """A change of the balance: positive is the customer's money, negative is owed."""

    kind: str = Field(description="What changed the balance, in one word")
    cause: str = Field(description="The same as a sentence")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="In minor units: above 0 money came to the balance, below 0 it left it",
    )
    currency: str
    invoice_id: InvoiceId | None = Field(description="The invoice that it is about; null: none")
    payment_id: PaymentId | None = Field(description="The payment that it is about; null: none")
    reason: str | None = Field(description="The operator's reason; null: no operator did it")
    booked_at: datetime = Field(validation_alias="at")

    @classmethod
    def of_entry(cls, entry: BalanceEntry) -> Self:
        """An entry with its cause in words."""
        return cls.of(entry, cause=CAUSES.get(entry.kind, entry.kind))


class MoneyBalanceAnswer(Page[BalanceEntryAnswer]):
    """The money balance and its entries, newest first."""

    balance_cents: Annotated[int, Field(description="Negative: owed with the next invoice")]
    currency: str


@router.get("/billing/balance", responses=responses("INVALID_CURSOR"))
async def read_money_balance(call: MemberRead, paging: Paging) -> MoneyBalanceAnswer:
    """The account's money balance, which pays the next invoices, and each entry with its cause.

    Zero for an unknown account [A13].
    """
    keys = (balance_entries.c.at, balance_entries.c.id)
    async with call.transaction() as connection:
        minor, currency = await balances.read(connection, call.account_id)
        page = await paginate(
            connection,
            balances.listing(call.account_id, for_member=is_member(call)),
            keys,
            paging,
            lambda row: BalanceEntryAnswer.of_entry(BalanceEntry.model_validate(dict(row))),
        )
    return MoneyBalanceAnswer(
        balance_cents=minor, currency=currency, data=page.data, pagination=page.pagination
    )

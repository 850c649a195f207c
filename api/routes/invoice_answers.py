"""Invoices as callers see them: in a list, and one with its lines, payments and next action."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Self, cast

from pydantic import AliasPath, BeforeValidator, Field, computed_field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers import statuses
from api.answers.case_answers import AttemptAnswer, CaseAnswer
from api.answers.pagination import Page, Pagination
from api.answers.public_ids import AccountId, InvoiceId, PurchaseId, SubscriptionId
from api.answers.schemas import Answer, Credits, Total
from api.pay.pay_actions import NextAction, with_page
from api.routes.base import PREFIX
from api.routes.credit_notes import CreditNoteAnswer, LineTax
from api.routes.payments import PaymentAnswer
from billing.money.dunning import store as cases
from billing.money.invoice_requests import manual
from billing.money.invoices import snapshots, store
from billing.money.invoices.explaining import explain
from billing.money.invoices.schemas import Invoice, InvoiceCollection, InvoiceLine, InvoiceStatus
from billing.money.payments import store as payment_store
from billing.money.payments.pay_links import PayLinks
from billing.money.payments.rules import PAYERS_OWN, next_action
from billing.money.payments.schemas import Attempt


def _legacy(status: str) -> str:
    return "pending" if status == "open" else status


class CustomFieldAnswer(Answer):
    """A custom field of the customer on its invoices."""

    name: str = Field(description="The name of the field, as printed")
    value: str = Field(description="The value of the field, as printed")


class InvoiceAnswer(Answer):
    """An invoice [I6, I16]; amounts in minor units of `currency`.

    `total` is subtotal - discount + tax_amount - tax_included: tax that prices already include is
    not added. The status `open` is `pending` in `legacy_status` [X6]. A draft has no number yet and
    is a pro-forma; `payment_reference` is the reference for a bank transfer.
    """

    invoice_id: InvoiceId = Field(validation_alias="id")
    invoice_number: str | None = Field(validation_alias="number")
    user: AccountId = Field(validation_alias="account_id")
    subscription: SubscriptionId | None = Field(
        validation_alias="subscription_id",
        description="The subscription that it bills, by our id; null: none",
    )
    purchase: PurchaseId | None = Field(
        validation_alias="purchase_id",
        description="The purchase of a pack that it bills, by our id; null: none",
    )
    stripe_invoice_id: str | None = Field(
        description="null, until Stripe Billing can be in charge of subscriptions"
    )
    status: InvoiceStatus = Field(description=statuses.INVOICE)
    legacy_status: Annotated[str, BeforeValidator(_legacy)] = Field(validation_alias="status")
    collection: InvoiceCollection = Field(
        description="`automatic`: by a saved card; `send_invoice`: by transfer; `held`: not until"
        " an operator decides or the payer pays, because the service was down for too long"
    )
    currency: str
    subtotal: int = Field(validation_alias="subtotal_minor")
    discount: int = Field(validation_alias="discount_minor")
    tax_amount: int = Field(validation_alias="tax_minor")
    tax_included: int = Field(validation_alias="tax_included_minor")
    total: int = Field(
        validation_alias="total_minor",
        description="After discounts and with tax: `subtotal` - `discount` + `tax_amount` -"
        " `tax_included`, in minor units of `currency`",
    )
    balance_applied: int = Field(validation_alias="balance_applied_minor")
    amount_due: int = Field(validation_alias="amount_due_minor")
    amount_paid: int = Field(validation_alias="amount_paid_minor")
    amount_credited: int = Field(
        validation_alias="amount_credited_minor",
        description="What credit notes deducted from the amount owed. Credit for amounts already"
        " paid went to the money balance or the payer; `credit_notes_total` includes both",
    )
    amount_refunded: int = Field(validation_alias="amount_refunded_minor")
    amount_remaining: int = Field(validation_alias="outstanding_minor")
    settlement: str | None = Field(
        description="Why nothing is owed: `payment`; `zero`, nothing was; `carried`, it was too"
        " small to charge; `credited`, it was not due; `forgiven`"
    )
    payment_reference: str | None
    po_number: str | None = Field(description="Replaces that of the billing details")
    memo: str | None = Field(description="Replaces that of the billing details")
    custom_fields: list[CustomFieldAnswer] | None = Field(
        description="Replace those of the billing details"
    )
    period_start: datetime | None = Field(
        description="When the period that it bills begins; null: it bills none"
    )
    period_end: datetime | None = Field(
        description="When the period that it bills ends; it is no part of the period"
    )
    issued_on: date | None
    due_date: datetime | None = Field(validation_alias="due_at")
    paid_at: datetime | None
    created_at: datetime

    @computed_field(description="The invoice as PDF, once it has a number [I10]")  # type: ignore[prop-decorator]
    @property
    def invoice_pdf_url(self) -> str | None:
        """The path of the PDF at this API."""
        return self._document("pdf") if self.invoice_number else None

    @computed_field(description="The receipt as PDF, once it is paid with money")  # type: ignore[prop-decorator]
    @property
    def receipt_pdf_url(self) -> str | None:
        """The path of the receipt at this API."""
        took_money = self.amount_paid > 0 or self.balance_applied > 0
        return self._document("receipt") if self.paid_at and took_money else None

    def _document(self, kind: str) -> str:
        return f"{PREFIX}/billing/invoices/{self.invoice_id}/{kind}"


class NumberedPagination(Pagination):
    """The position of this page, and the number of invoices in all [I2]."""

    pages: int


class InvoicePage(Answer):
    """One page of invoices; `invoices` is another name of `data` [I2]."""

    data: list[InvoiceAnswer]
    invoices: list[InvoiceAnswer] = Field(description="As `data`")
    pagination: NumberedPagination

    @classmethod
    def of_page(cls, page: Page[InvoiceAnswer]) -> Self:
        """Return the page under both its names."""
        at = page.pagination
        numbered = NumberedPagination(**at.model_dump(), pages=-(-at.total // at.limit))
        return cls(data=page.data, invoices=page.data, pagination=numbered)


class TierAnswer(Answer):
    """Units of a cycle in one price tier: `flat_price` plus `unit_price` each, in whole units."""

    units: Total = Field(description="Units of the cycle in this tier")
    unit_price: Credits = Field(
        description="The price of each of them, in whole units of the currency"
    )
    flat_price: Credits = Field(
        description="What the tier costs as such, in whole units of the currency"
    )
    amount: Total = Field(
        description="What its units cost together, in whole units of the currency, not rounded"
    )


class LineDiscount(Answer):
    """The line's share of a discount, in minor units."""

    code: str = Field(description="The code of the coupon")
    amount: int = Field(
        validation_alias="amount_minor", description="What it takes off the line, in minor units"
    )


class LineAnswer(Answer):
    """One line [I8]: quantity times unit amount, rounded once; minor units.

    `total` is its cost after discounts and with taxes.

    If units do not all cost the same, `unit_amount` is their average, and `tiers` are those of the
    whole cycle so far; `billed_before`, billed by earlier lines, is deducted from their sum. Before
    the close of the cycle a price by volume may fall: then `at_most`, the least that the cycle can
    cost, takes the place of their sum. A line of kind `minimum` or `commitment` charges
    `least_cents` less `spent_cents`. `explained` is the arithmetic in words.
    """

    kind: str = Field(
        description="What it charges: `plan`, `add_on`, `usage`, `pack`, `single_use`, `minimum`,"
        " `commitment`, `used_meanwhile`, or `proration`, which credits unused time",
    )
    description: str = Field(description="The text of the line")
    quantity: Total = Field(description="How many units it charges")
    unit_amount: Credits = Field(
        description="The price of a unit, in minor units with decimals; where units differ in"
        " price, the average",
    )
    amount: int = Field(
        validation_alias="amount_minor",
        description="What it charges before discounts and tax, in minor units; below 0 a credit",
    )
    discounts: list[LineDiscount] = Field(description="What each coupon takes off it")
    taxes: list[LineTax] = Field(description="Its share of each tax")
    total: int = Field(
        validation_alias="total_minor", description="After discounts and with tax, in minor units"
    )
    period_start: datetime | None = Field(
        description="When the time that it charges begins; null: it charges no time"
    )
    period_end: datetime | None = Field(
        description="When the time that it charges ends; it is no part of it"
    )
    tiers: list[TierAnswer] | None = Field(
        None,
        validation_alias=AliasPath("detail", "tiers"),
        description="The units of the cycle so far by price; null: the line is units times price,"
        " or each use has a price of its own",
    )
    at_most: TierAnswer | None = Field(
        None,
        validation_alias=AliasPath("detail", "at_most"),
        description="The least that the cycle can cost, which is charged instead of the sum of"
        " `tiers` until the cycle closes; null: the sum is",
    )
    billed_before: int | None = Field(
        None,
        validation_alias=AliasPath("detail", "billed_minor"),
        description="What earlier lines billed of it, in minor units; null: nothing",
    )
    least_cents: int | None = Field(
        None,
        validation_alias=AliasPath("detail", "least_minor"),
        description="The minimum or commitment, in minor units; null: the line charges neither",
    )
    spent_cents: int | None = Field(
        None,
        validation_alias=AliasPath("detail", "spent_minor"),
        description="What was spent of it, in minor units; null: the line charges neither",
    )
    explained: str = Field(description="The arithmetic in words")

    @classmethod
    def of_line(cls, line: InvoiceLine, currency: str) -> Self:
        """The line as callers see it."""
        found = {"total_minor": line.total_minor, "explained": explain(line, currency)}
        return cls.of(line, **found)


class InvoiceDetail(InvoiceAnswer):
    """An invoice with all its parts [I3, I8, I9]; `next_action` is none | confirm_card | redirect |
    manual | wait. Once it has a number, `po_number`, `memo` and `custom_fields` are as printed.
    """

    line_items: list[LineAnswer] = Field(description="What it charges, line by line")
    payments: list[PaymentAnswer] = Field(description="Its payments")
    attempts: list[AttemptAnswer] = Field(description="The tries of cards for it")
    credit_notes: list[CreditNoteAnswer] = Field(description="Its credit notes")
    credit_notes_total: int = Field(description="What they credit in all, paid or owed")
    dunning: CaseAnswer | None = Field(
        description="The recovery of it while it is overdue; null: there was none"
    )
    next_action: NextAction = Field(examples=[{"type": "none"}])

    @classmethod
    async def read(cls, connection: AsyncConnection, invoice: Invoice, links: PayLinks) -> Self:
        """The invoice with its parts, read in the caller's transaction."""
        case = await cases.find_of_invoice(connection, invoice.id)
        lines = await store.lines(connection, invoice.id)
        made = await payment_store.listed_of_invoice(connection, invoice.id)
        tries = await payment_store.attempts_of(connection, invoice.id)
        notes = await store.credit_notes_of(connection, invoice.id)
        printed = await snapshots.printed(connection, invoice.id)
        return cls(
            **InvoiceAnswer.of(invoice).model_dump() | printed,
            line_items=[LineAnswer.of_line(line, invoice.currency) for line in lines],
            payments=[PaymentAnswer.for_customer(one) for one in made],
            attempts=[AttemptAnswer.for_customer(one) for one in tries],
            credit_notes=[CreditNoteAnswer.of(note) for note in notes],
            credit_notes_total=sum(note["amount_minor"] for note in notes),
            dunning=await CaseAnswer.read(connection, case) if case else None,
            next_action=await next_action_of(connection, invoice, tries, links),
        )


def show_row(row: RowMapping) -> InvoiceAnswer:
    """A row of a list."""
    return InvoiceAnswer.of(Invoice.model_validate(row))


async def next_action_of(
    connection: AsyncConnection, invoice: Invoice | None, tries: Sequence[Attempt], links: PayLinks
) -> NextAction:
    """The payer's next action; it has a secret only when the payer must confirm a card."""
    if invoice is None:
        return {"type": "none"}
    by_hand = await manual.asked_for(connection, invoice)
    if by_hand is not None:
        return cast("NextAction", by_hand)
    if await payment_store.submission(connection, invoice.id) is not None:
        return {"type": "wait"}
    live = await payment_store.live(connection, invoice.id)
    if live is None:
        return {"type": "none"}
    mine = [one for one in tries if one.payment_id == live.id]
    if live.status == "pending" and mine and mine[-1].status == "pending":
        return {"type": "wait"}
    asked = live.flow in PAYERS_OWN or invoice.status == "draft"
    if live.status == "pending" and not asked and not (mine and mine[-1].status == "action"):
        return {"type": "none"}
    action = next_action(
        owed=invoice.takes_money,
        payment_status=live.status,
        client_secret=live.client_secret,
        redirect_url=live.redirect_url,
    )
    return with_page(links, action, invoice.account_id, "invoice", invoice.id)

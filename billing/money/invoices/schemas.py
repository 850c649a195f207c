"""Invoices as the rest of the product reads them; amounts in minor units of `currency`."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Final, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.catalog.taxes.schemas import STANDARD, TaxRate
from billing.core import ids
from billing.core.frozen import Frozen
from billing.matters.effects import Row
from billing.money.discounts.schemas import DiscountTerms

InvoiceStatus = Literal["draft", "open", "paid", "void", "uncollectible"]
CHARGED: Final = ("open", "paid", "uncollectible")
"""Statuses of an invoice that charges its lines: it has its number, and is not void."""
OWED: Final = ("open", "uncollectible")
"""Statuses of a numbered invoice with an amount still to be paid."""
OPEN_TO_MONEY: Final = ("draft", "open", "uncollectible")
"""Statuses of an invoice that money is booked on. An uncollectible one is not charged, but may be
paid.
"""
PRORATION: Final = "proration"
"""The kind of a line that credits paid, unused time of another invoice."""
InvoiceCollection = Literal["automatic", "held", "send_invoice"]
"""`held`: more than one renewal or cycle was missed, and an operator decides whether a card is
charged.
"""
NoteKind = Literal[
    "operator", "wrong_price", "voided_use", "reverse_charge", "change", "canceled", "unserved",
    "forgiven", "void", "refund", "dispute",
]  # fmt: skip
"""The reason why a credit note was written: an operator credited a part; a price was wrong; a use
was voided; the VAT id is proven; a change credits unused time, and a cancel does; time was not
served; the rest was forgiven; the invoice was voided; money went back by a refund or lost dispute.
"""
CORRECTIONS: Final[tuple[NoteKind, ...]] = ("operator", "wrong_price", "voided_use")
"""Notes that correct a price. They claw back no credits."""
REVERSED: Final[tuple[NoteKind, ...]] = ("refund", "dispute")
"""Notes of money that went back."""


class Line(Frozen):
    """One line: quantity times unit amount, rounded once."""

    kind: str
    description: str
    quantity: Decimal = Decimal(1)
    unit_amount: Decimal
    """In minor units; may have a fraction for usage."""
    amount_minor: int
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    detail: dict[str, Any] = Field(default_factory=dict)
    sold: str | None = None
    """The plan or pack that it charges, or under which it was used: a discount may be limited to
    that.
    """
    kept: tuple[dict[str, Any], ...] = ()
    """Discounts of seats or add-ons that stay, each `code` and `amount_minor`, as they were charged
    before.
    """
    open_part: Fraction = Fraction(1)
    """The part of the amount that other discounts are off: the rest is of what stays."""
    tax_category: str = STANDARD
    taxes: tuple[TaxRate, ...] | None = None
    """For a credit line the rates of the line that it credits; else None: those of its category."""
    tax_left: tuple[dict[str, Any], ...] = ()
    """For a credit line that credits less tax than its rates amount to: the tax itself."""

    def of_plan(self, sold: str, tax_category: str) -> Self:
        """Return the line as one of this plan, in what it does not say itself."""
        fields = {"sold": sold, "tax_category": tax_category}
        missing = fields.keys() - self.model_fields_set
        return self.model_copy(update={name: fields[name] for name in missing})


class NewInvoice(Frozen):
    """A draft to write: what is billed, to whom, and the key of the business fact, billed once."""

    account_id: UUID
    issuer_id: UUID | None
    workflow_id: str
    fact_key: str
    currency: str
    lines: tuple[Line, ...]
    discounts: tuple[DiscountTerms, ...] = ()
    subscription_id: UUID | None = None
    purchase_id: UUID | None = None
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    cycle_start: AwareDatetime | None = None
    cycle_end: AwareDatetime | None = None
    collection: InvoiceCollection = "automatic"
    payment_reference: str | None = None
    vat_id: str | None = None


class Invoice(Row):
    """A row of `invoices`; status, settlement and amounts paid are not content.

    Once it has a number its content stays: `invoice_keep.sql` lists these columns, and `snapshots`
    keeps what a document shows beside them.
    """

    TABLE: ClassVar[str] = "invoices"

    account_id: UUID
    issuer_id: UUID | None = None
    workflow_id: str
    subscription_id: UUID | None = None
    purchase_id: UUID | None = None
    fact_key: str
    status: InvoiceStatus
    series: str | None = None
    number: str | None = None
    content_hash: str | None = None
    currency: str
    subtotal_minor: int
    discount_minor: int = 0
    tax_minor: int = 0
    tax_included_minor: int = 0
    """The part of the tax that prices include: it does not raise the total."""
    total_minor: int
    balance_applied_minor: int = 0
    amount_due_minor: int
    amount_paid_minor: int = 0
    amount_credited_minor: int = 0
    amount_refunded_minor: int = 0
    settlement: str | None = None
    collection: InvoiceCollection = "automatic"
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    cycle_start: AwareDatetime | None = None
    cycle_end: AwareDatetime | None = None
    pay_requests: int = 0
    pay_requested_at: AwareDatetime | None = None
    cancel_asked_at: AwareDatetime | None = None
    """Time at which the buyer of its purchase asked to cancel it; the provider decides next."""
    pay_method_id: UUID | None = None
    payment_reference: str | None = None
    po_number: str | None = None
    memo: str | None = None
    custom_fields: list[dict[str, str]] | None = None
    vat_id: str | None = None
    """The VAT id because of which it was drafted without tax, whatever becomes of that id."""
    stripe_invoice_id: str | None = None
    issued_on: date | None = None
    due_at: AwareDatetime | None = None
    finalized_at: AwareDatetime | None = None
    paid_at: AwareDatetime | None = None
    voided_at: AwareDatetime | None = None
    created_at: AwareDatetime

    @property
    def is_owed(self) -> bool:
        """True if it has its number and an amount still to be paid."""
        return self.status in OWED

    @property
    def takes_money(self) -> bool:
        """True if money is booked on it: it is neither settled nor void."""
        return self.status in OPEN_TO_MONEY

    @property
    def is_of_use(self) -> bool:
        """True if it bills one single use."""
        return self.fact_key.startswith(f"{ids.BILLING_RECORD}_")

    @property
    def remaining_minor(self) -> int:
        """The amount still to be collected."""
        return max(0, self.amount_due_minor - self.amount_paid_minor - self.amount_credited_minor)

    @property
    def took_money(self) -> bool:
        """True once a card, a payment by hand or the money balance paid some of it."""
        return self.amount_paid_minor > 0 or self.balance_applied_minor > 0

    @property
    def outstanding_minor(self) -> int:
        """The amount its payer still owes: nothing once it is settled or void."""
        return self.remaining_minor if self.takes_money else 0


class InvoiceLine(Row):
    """A row of `invoice_lines`; `quantity` has all its decimals, as the content's hash needs."""

    TABLE: ClassVar[str] = "invoice_lines"

    account_id: UUID
    invoice_id: UUID
    position: int
    kind: str
    description: str
    quantity: Decimal
    unit_amount: Decimal
    amount_minor: int
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    detail: dict[str, Any] = Field(default_factory=dict)
    discount_minor: int = 0
    tax_minor: int = 0
    tax_included_minor: int = 0
    discounts: list[dict[str, Any]] = Field(default_factory=list)
    taxes: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def total_minor(self) -> int:
        """The amount to be paid for the line, after discounts and with tax."""
        return self.amount_minor - self.discount_minor + self.tax_minor - self.tax_included_minor

    @property
    def credited_invoice_id(self) -> UUID | None:
        """The invoice of which it credits a part."""
        source = self.detail.get("invoice") if self.kind == PRORATION else None
        return UUID(source) if source is not None else None


class CreditNote(Row):
    """A row of `credit_notes`: a credited part of a numbered invoice."""

    TABLE: ClassVar[str] = "credit_notes"

    account_id: UUID
    invoice_id: UUID
    kind: NoteKind
    fact_key: str
    series: str
    number: str | None = None
    reason: str
    amount_minor: int
    currency: str
    lines: list[dict[str, Any]] = Field(default_factory=list)
    """The credited parts of the invoice's lines: position, description, amount_minor."""
    tax_minor: int = 0
    """The tax in its amount."""
    taxes: list[dict[str, Any]] = Field(default_factory=list)
    """Each rate and the `amount_minor` of it."""
    was_served: bool = False
    """True if it credits what was served, so that a minimum counts it as spent: by a refund, a lost
    dispute, a forgiven debt, or an operator's credit that names no line.
    """
    issued_on: date | None = None
    created_at: AwareDatetime


class ReversalClaim(Row):
    """A refund or dispute, which may credit a part of an invoice by a note."""

    account_id: UUID
    payment_id: UUID
    invoice_id: UUID
    amount_minor: int
    note_minor: int = 0
    balance_minor: int = 0
    wanted_minor: int = 0
    currency: str
    reason: str
    credits: list[dict[str, str]] = Field(default_factory=list)
    late_grant: str | None = None
    """Key of a grant that came after it was booked, and of which it takes its share."""
    created_at: AwareDatetime
    booked_at: AwareDatetime | None = None

    @property
    def own_minor(self) -> int:
        """The part of it that was money of the payment."""
        raise NotImplementedError

    @property
    def takes_room(self) -> bool:
        """True while its money is away, or on its way."""
        raise NotImplementedError

    @property
    def is_placed(self) -> bool:
        """False while its place is not known, because its payment was not booked yet."""
        return True

    @property
    def loose_minor(self) -> int:
        """The part of that which was never booked, neither on the invoice nor on the balance."""
        return self.own_minor - self.note_minor - self.balance_minor

    @property
    def noted_minor(self) -> int:
        """The part for which its credit note stands, whether or not its money is back."""
        return self.note_minor

    @property
    def short_minor(self) -> int:
        """The part for which a credit note still lacks room, once it is placed."""
        has_place = self.takes_room and self.is_placed
        return max(0, self.wanted_minor - self.note_minor) if has_place else 0

    @property
    def has_found_room(self) -> bool:
        """True once another matter has written all of the note that it waited for. Its own matter
        takes the credits that are here then, and waits no longer: later ones bear no share of it.
        """
        return bool(self.wanted_minor) and self.is_placed and not self.short_minor

    @property
    def is_reserved(self) -> bool:
        """True until it is booked: its note may still be written, and nothing else may return that
        money.
        """
        return self.takes_room and self.booked_at is None


class BalanceEntry(Row):
    """A row of `balance_entries`: positive is the customer's money, negative is carried debt."""

    TABLE: ClassVar[str] = "balance_entries"

    account_id: UUID
    key: str
    kind: str
    amount_minor: int
    currency: str
    invoice_id: UUID | None = None
    payment_id: UUID | None = None
    reason: str | None = None
    """The reason given by the operator who adjusted the balance."""
    at: AwareDatetime

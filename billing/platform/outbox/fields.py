"""The fields of published events: one name has one meaning, unless a family of events says its own.

`billing events` shows them; `docs/events.md` is its output.
"""

from typing import Any, Final, Literal, NamedTuple

Form = Literal["text", "id", "whole", "money", "decimal", "instant", "yes or no", "object"]

TAIL: Final = "_01h455vb4pex5vsknk084sn02q"


class Field(NamedTuple):
    """One field: how its value is written, what it says, and an example."""

    form: Form
    meaning: str
    example: Any
    may_be_null: bool = False


def _id(prefix: str, meaning: str, *, may_be_null: bool = False) -> Field:
    return Field("id", meaning, prefix + TAIL, may_be_null)


FIELDS: Final[dict[str, Field]] = {
    "account_id": _id("acc", "the account"),
    "add_ons": Field("object", "number of each add-on by its key", {"ai-500": 2}),
    "adjustment_id": _id("adj", "the correction"),
    "again_at": Field(
        "instant", "when it is tried again; null: not any more", "2027-01-01T10:00:00+00:00", True
    ),
    "amount_cents": Field("money", "the amount", 5831),
    "amount_minor": Field("money", "the amount, in minor units of `currency`", 5831),
    "balance": Field("decimal", "credits left afterwards", "100.00"),
    "balance_cents": Field("money", "what went to the money balance", 5831),
    "before": Field("text", "the status before", "incomplete"),
    "billing_id": _id("bill", "the record of the use"),
    "billing_method": Field("text", "how the use is paid", "credit_consumption"),
    "billing_status": Field("text", "the record's status", "completed"),
    "brand": Field("text", "brand of the card or wallet", "visa", True),
    "cancel_at": Field("instant", "when it ends", "2027-02-01T09:00:00+00:00"),
    "cancel_reason": Field("text", "why it is canceled, where its customer said so", "unused"),
    "cap_cents": Field("money", "the most for a month", 50000, True),
    "claimed_cents": Field("money", "what its payer said was sent", 5831),
    "code": Field("text", "the code of the coupon", "WELCOME20"),
    "correction_id": _id("bill", "the record that takes the use back"),
    "credited_cents": Field("money", "by how much less is owed of its invoice", 0),
    "credits": Field("decimal", "the number of credits", "100.00"),
    "currency": Field("text", "ISO 4217", "EUR"),
    "current_period_end": Field("instant", "when the period ends", "2027-02-01T09:00:00+00:00"),
    "days": Field("whole", "by how many days", 7),
    "dispute_id": _id("dsp", "the dispute"),
    "dunning_case_id": _id("dun", "the recovery of the invoice"),
    "effective_at": Field("instant", "from when it holds", "2027-02-01T09:00:00+00:00"),
    "event_id": Field("text", "your own id of the use", "use-4711", True),
    "evidence_due_at": Field(
        "instant", "until when the bank takes evidence", "2027-02-01T09:00:00+00:00", True
    ),
    "exp_month": Field("whole", "month in which the card expires", 12),
    "exp_year": Field("whole", "its year", 2030),
    "expired": Field("decimal", "credits that ended with it, unspent", "80.00"),
    "expires_at": Field("instant", "when it ends", "2027-02-01T09:00:00+00:00"),
    "failure": Field("text", "the provider's word on why", "expired_or_canceled_card"),
    "failure_code": Field("text", "why the last try failed", "insufficient_funds", True),
    "failures": Field("whole", "failures without a success between them", 1),
    "feature_type": Field("text", "the feature, as the use named it", "ai_responses", True),
    "hold_id": _id("hld", "the hold"),
    "how_to_cancel": Field("text", "the routes that end it", "POST /billing/subscription/cancel"),
    "interval": Field("text", "length of its periods", "month"),
    "invoice_id": _id("inv", "the invoice"),
    "invoice_status": Field("text", "the invoice's status", "void"),
    "is_enabled": Field("yes or no", "credits are bought without being asked", True),
    "kind": Field("text", "what kind it is of", "card"),
    "last4": Field("text", "the last four digits", "4242", True),
    "limit": Field("decimal", "the limit, in units of the meter", "1000"),
    "loss_cents": Field("money", "what no invoice or balance has covered", 0),
    "lot_id": _id("lot", "the lot of credits"),
    "meter": Field("text", "the meter", "ai_responses"),
    "monthly_cap_cents": Field("money", "the most for a month; null: any", 50000, True),
    "occurred_at": Field("instant", "when it was used", "2027-01-01T09:00:00+00:00"),
    "organization_id": Field("text", "for whom it was used", "org-1", True),
    "owner": Field("text", "whose use it counts; empty: everybody's", ""),
    "pack": Field("text", "the key of the pack", "small"),
    "pay_url": Field("text", "the page on which the payer does what the bank asks for",
                     "https://billing.example.com/pay/…"),
    "payment_id": _id("pay", "the payment"),
    "payment_method_id": _id("mth", "the saved card or account"),
    "period_start": Field("instant", "when the period began", "2027-01-01T09:00:00+00:00"),
    "plan": Field("text", "the key of its plan", "pro"),
    "price_cents": Field("money", "the price of a period", 4900),
    "price_cents_before": Field("money", "the price until then", 3900),
    "minimum_cents": Field("money", "the least of a period; null: none", 6000, may_be_null=True),
    "minimum_cents_before": Field("money", "the least until then", 5000, may_be_null=True),
    "product_id": Field("text", "the product used", "gpt-4", True),
    "proof": Field("text", "the register's reference", "WAPIAAAAYjP7f2Hq", True),
    "purchase_id": _id("pur", "the purchase"),
    "quantity": Field("whole", "the number of seats", 1),
    "reason": Field("text", "why", "goodwill"),
    "received_cents": Field("money", "what arrived", 2000),
    "reference": Field("text", "what the payer's transfer says", "CRM-2027-17", True),
    "refunded_cents": Field("money", "what goes back to its payer", 1900),
    "refund_id": _id("ref", "the refund"),
    "renews_at": Field("instant", "when the next period begins", "2027-02-01T09:00:00+00:00"),
    "scope": Field("text", "the meter whose uses they pay for; null: any", "model_inference", True),
    "service_type": Field("text", "the service, as the use named it", "model_inference", True),
    "since": Field("instant", "when the oldest of them was used", "2027-01-01T09:00:00+00:00"),
    "slot": Field("whole", "which try of the plan, from 0; null: an extra one", 0, True),
    "spent_cents": Field("money", "what was bought in this month", 49000),
    "status": Field("text", "its status afterwards", "active"),
    "subject": Field("text", "what has the limit", "plan"),
    "subscription_id": _id("sub", "the subscription"),
    "threshold": Field("decimal", "the credits below which it is told", "10.00"),
    "threshold_percent": Field("whole", "percent of the limit", 80),
    "top_up_id": _id("top", "the top-up"),
    "total": Field("decimal", "what they cost, in units of `currency`", "12.5"),
    "total_amount": Field("decimal", "what the use costs, in units of `currency`", "0.02", True),
    "total_cents": Field("money", "the invoice's total with tax", 5831),
    "trial_id": _id("trl", "the trial of credits"),
    "until": Field("instant", "when it may be bought again", "2027-02-01T00:00:00+00:00"),
    "usage_amount": Field("decimal", "the use, in units of the meter", "1000"),
    "used": Field("decimal", "what is used, in units of the meter", "800"),
    "user_id": Field("text", "who used it", "user-1", True),
    "uses": Field("whole", "the number of uses", 3),
    "vat_id": Field("text", "the VAT id", "DE136695976", True),
    "window_start": Field("instant", "when the limit's window began", "2027-01-01T09:00:00+00:00"),
}  # fmt: skip
"""By name, as every family has them that says nothing of its own."""

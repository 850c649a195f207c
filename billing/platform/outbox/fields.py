"""The fields of published events: a name has one meaning, unless a family defines its own.

`billing events` shows them; `docs/events.md` is its output.
"""

from typing import Any, Final, Literal, NamedTuple

Form = Literal["text", "id", "whole", "money", "decimal", "instant", "yes or no", "object"]

TAIL: Final = "_01h455vb4pex5vsknk084sn02q"


class Field(NamedTuple):
    """One field: the form of its value, its meaning, and an example."""

    form: Form
    meaning: str
    example: Any
    may_be_null: bool = False


def _id(prefix: str, meaning: str) -> Field:
    return Field("id", meaning, prefix + TAIL)


FIELDS: Final[dict[str, Field]] = {
    "account_id": _id("acc", "the account"),
    "add_ons": Field("object", "the number of each add-on, by its key", {"ai-500": 2}),
    "adjustment_id": _id("adj", "the correction"),
    "again_at": Field(
        "instant", "the next try; null: none", "2027-01-01T10:00:00Z", True
    ),
    "amount_cents": Field("money", "the amount", 5831),
    "amount_minor": Field("money", "an older name of `amount_cents`", 5831),
    "attempt_id": Field(
        "id", "the try, as `GET /billing/payments` shows it; null: none", "att" + TAIL, True
    ),
    "balance": Field("decimal", "credits left afterwards", "100.00"),
    "balance_cents": Field("money", "the amount added to the money balance", 5831),
    "before": Field("text", "the previous status", "incomplete"),
    "billing_id": _id("bill", "the record of the use"),
    "billing_method": Field("text", "the payment method of the use", "credit_consumption"),
    "billing_status": Field("text", "the record's status", "completed"),
    "brand": Field("text", "brand of the card or wallet", "visa", True),
    "cancel_at": Field("instant", "when it ends", "2027-02-01T09:00:00Z"),
    "cancel_reason": Field("text", "why it is canceled, if its customer gave a reason", "unused"),
    "cap_cents": Field("money", "the maximum per month", 50000, True),
    "claimed_cents": Field("money", "the amount the payer claims to have sent", 5831),
    "code": Field("text", "the code of the coupon", "WELCOME20"),
    "correction_id": _id("bill", "the record that voids the use"),
    "credited_cents": Field("money", "the amount credited on its invoice", 0),
    "credits": Field("decimal", "the number of credits", "100.00"),
    "currency": Field("text", "ISO 4217", "EUR"),
    "current_period_end": Field("instant", "when the period ends", "2027-02-01T09:00:00Z"),
    "days": Field("whole", "the number of days", 7),
    "days_ahead": Field("whole", "the number of days ahead that the notice was due", 7),
    "dispute_id": _id("dsp", "the dispute"),
    "dunning_case_id": _id("dun", "the dunning case of the invoice"),
    "effective_at": Field("instant", "when it takes effect", "2027-02-01T09:00:00Z"),
    "event_id": Field("text", "your id of the use", "use-4711", True),
    "evidence_due_at": Field(
        "instant", "the deadline for evidence", "2027-02-01T09:00:00Z", True
    ),
    "exp_month": Field("whole", "month in which the card expires", 12),
    "exp_year": Field("whole", "year in which the card expires", 2030),
    "expired": Field("decimal", "unspent credits that expired with it", "80.00"),
    "expires_at": Field("instant", "when it ends", "2027-02-01T09:00:00Z"),
    "failure": Field("text", "the provider's reason", "expired_or_canceled_card"),
    "failure_code": Field("text", "why the last try failed", "insufficient_funds", True),
    "failures": Field("whole", "consecutive failures", 1),
    "feature_type": Field("text", "the feature named by the use", "ai_responses", True),
    "hold_id": _id("hld", "the hold"),
    "how_to_cancel": Field("text", "routes that cancel it", "POST /billing/subscription/cancel"),
    "interval": Field("text", "length of its periods", "month"),
    "invoice_id": _id("inv", "the invoice"),
    "invoice_status": Field("text", "the invoice's status", "void"),
    "is_enabled": Field("yes or no", "true if credits are bought automatically", True),
    "kind": Field("text", "its kind", "card"),
    "last4": Field("text", "the last four digits", "4242", True),
    "limit": Field("decimal", "the limit, in units of the meter", "1000"),
    "loss_cents": Field("money", "the part that no invoice or balance covered", 0),
    "lot_id": _id("lot", "the lot of credits"),
    "meter": Field("text", "the meter", "ai_responses"),
    "minimum_cents": Field("money", "the minimum of a period; null: none", 6000, True),
    "minimum_cents_before": Field("money", "the previous minimum", 5000, True),
    "monthly_cap_cents": Field("money", "the maximum per month; null: none", 50000, True),
    "occurred_at": Field("instant", "when it was used", "2027-01-01T09:00:00Z"),
    "of_plan": Field(
        "text", "the key of the plan whose price it is: its own, or the one that will come", "pro"
    ),
    "organization_id": Field("text", "the organisation of the use", "org-1", True),
    "owner": Field("text", "whose use it counts; empty: the whole account's", ""),
    "pack": Field("text", "the key of the pack", "small"),
    "pay_url": Field("text", "the page on which the payer confirms the payment",
                     "https://billing.example.com/pay/…"),
    "payment_id": _id("pay", "the payment"),
    "payment_method_id": _id("mth", "the saved card or account"),
    "period_start": Field("instant", "when the period began", "2027-01-01T09:00:00Z"),
    "plan": Field("text", "the key of its plan", "pro"),
    "price_cents": Field(
        "money", "the price of a period, before discounts, use and tax that is added", 4900
    ),
    "price_cents_before": Field("money", "the previous price", 3900),
    "product_id": Field("text", "the product used", "gpt-4", True),
    "proof": Field("text", "the register's reference", "WAPIAAAAYjP7f2Hq", True),
    "purchase_id": _id("pur", "the purchase"),
    "quantity": Field("whole", "the number of seats", 1),
    "reason": Field("text", "why", "goodwill"),
    "received_cents": Field("money", "the amount received", 2000),
    "reference": Field("text", "the reference of the payer's transfer", "CRM-2027-17", True),
    "refund_id": _id("ref", "the refund"),
    "refunded_cents": Field("money", "the amount refunded to the payer", 1900),
    "renews_at": Field("instant", "when the next period begins", "2027-02-01T09:00:00Z"),
    "scope": Field("text", "the meter they may pay for; null: any", "model_inference", True),
    "service_type": Field("text", "the service named by the use", "model_inference", True),
    "since": Field("instant", "when the oldest of them occurred", "2027-01-01T09:00:00Z"),
    "slot": Field("whole", "the number of the planned try, from 0; null: an extra one", 0, True),
    "spent_cents": Field("money", "the amount already bought in this month", 49000),
    "status": Field("text", "its new status", "active"),
    "subject": Field("text", "what sets the limit", "plan"),
    "subscription_id": _id("sub", "the subscription"),
    "threshold": Field("decimal", "the balance below which the event is sent", "10.00"),
    "threshold_percent": Field("whole", "percent of the limit", 80),
    "top_up_id": _id("top", "the top-up"),
    "total": Field("decimal", "their cost, in units of `currency`", "12.5"),
    "total_amount": Field("decimal", "the cost of the use, in units of `currency`", "0.02", True),
    "total_cents": Field("money", "the invoice's total with tax", 5831),
    "trial_id": _id("trl", "the trial of credits"),
    "until": Field("instant", "when it may be bought again", "2027-02-01T00:00:00Z"),
    "usage_amount": Field("decimal", "the quantity, in units of the meter", "1000"),
    "used": Field("decimal", "the use so far, in units of the meter", "800"),
    "user_id": Field("text", "the user who used it", "user-1", True),
    "uses": Field("whole", "the number of uses", 3),
    "vat_id": Field("text", "the VAT id", "DE136695976", True),
    "wanted": Field(
        "object",
        "what will come: `plan`, `interval`, `quantity` and perhaps `add_ons`; of kind `add_ons`"
        " the number of each, by its key; of `price` its `price_cents`; else nothing",
        {"plan": "basic", "interval": "month", "quantity": 1},
    ),
    "window_start": Field("instant", "when the limit's window began", "2027-01-01T09:00:00Z"),
}  # fmt: skip
"""By name; the meaning in every family that does not define its own."""

INSTANTS: Final = frozenset(name for name, one in FIELDS.items() if one.form == "instant")

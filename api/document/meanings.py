"""The meaning of names that many schemas and routes share, in one place each.

A field or parameter that describes itself keeps its own words.
"""

from collections.abc import Iterator
from typing import Any, Final

_FIELDS: Final = {
    "access": "What the plan gives now: `full`, `no_new_overage` (what it includes, and nothing"
    " beyond it) or `none`",
    "account_id": "The account, by our id",
    "alert_percents": "Percents of the limit at which an event is sent, once per window",
    "amount_cents": "The amount, in minor units of `currency`",
    "as_of": "Until when the answer is complete",
    "attempt_id": "One try of a card",
    "available_billing_methods": "The ways in which recording this use now could be paid",
    "billing_id": "The billing record of a use",
    "billing_method": "What pays for a use",
    "billing_status": "How far the payment of a use has come",
    "cancel_at_period_end": "True if it ends with the current period",
    "clock_at": "The account's own time, if it is a test account with a clock",
    "correlation_id": "Shared by logs, events and what the request caused; quote it for help",
    "country": "ISO 3166-1, two letters",
    "created_at": "When it was made",
    "currency": "ISO 4217; `CREDIT` for an amount of credits",
    "current_period_end": "When the period that is paid for ends; it is no part of the period",
    "current_period_start": "When the period that is paid for began",
    "dunning_case_id": "The recovery of one unpaid invoice",
    "external_id": "Your own id of the account",
    "failure_code": "Why the last try failed",
    "feature_type": "The feature that was used",
    "has_more": "True if more follows",
    "hold_id": "Credits that are set aside",
    "invoice_id": "The invoice",
    "is_free_tier": "True if the product's free units cover all that the plan does not",
    "is_included_in_subscription": "True if the plan's allowance covers the whole use",
    "is_test": "True for a test account, which never moves real money",
    "lot_id": "Credits that came together and end together",
    "meter": "The key of the meter that counts it",
    "next_action": "What the payer has to do next",
    "occurred_at": "When it happened",
    "operation": "The operation that was used, as the caller named it",
    "organization_id": "Your own id of an organisation within the account",
    "pagination": "Where this page stands among all",
    "passes_at": "When the same use would pass if nothing more is used; null: at no known time",
    "payment_id": "The payment of an invoice",
    "payment_method_id": "A saved card, bank account or wallet",
    "period_end": "When the period ends; it is no part of the period",
    "period_start": "When the period begins",
    "platform": "The platform on which the account has its shop",
    "preview_token": "Binds a change to exactly what was shown, for 15 minutes",
    "product_id": "The key of the product that prices a use",
    "purchase_id": "The purchase of a pack of credits",
    "request_id": "Your own id of the request that used it; many uses may share it",
    "resets_at": "When the limit's window ends",
    "service_type": "The kind of service that was used",
    "session_id": "Your own id of the session that used it",
    "subscription_id": "The subscription",
    "suggested_billing_method": "The account's preferred way if that would pay, else the first that"
    " would; null: none",
    "total_cost": "What the use costs, in units of `currency`",
    "transaction_id": "The change of credits",
    "updated_at": "When it was last changed",
    "usage_amount": "How much was used, in units of the meter; of a level the reading",
    "user_id": "Your own id of a user within the account",
    "workflow_id": "The Temporal workflow behind it",
}  # fmt: skip
_PARAMETERS: Final = {
    "account_id": "The account, by our id or your own",
    "address_id": "The address",
    "billing_id": "The billing record of a use",
    "budget_id": "The budget",
    "cursor": "`next_cursor` of the page before; without it the list begins",
    "dunning_case_id": "The dunning case",
    "hold_id": "The hold",
    "Idempotency-Key": "Your own mark of this request: the same key with the same body gets the"
    " first answer again",
    "invoice_id": "The invoice",
    "limit": "How many rows at most",
    "offset": "How many rows to pass over, from the beginning",
    "organization_id": "Only those of this organisation",
    "page": "The number of the page, from 1",
    "payment_id": "The payment",
    "payment_method_id": "The saved payment method",
    "purchase_id": "The purchase",
    "service_type": "Only those of this kind of service",
    "status": "Only those in this status",
    "transaction_id": "The change of credits",
    "user_id": "Only those of this user",
}  # fmt: skip


def add(document: dict[str, Any]) -> None:
    """Describe the shared names of a document where they have no words of their own."""
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if name in _FIELDS:
                field.setdefault("description", _FIELDS[name])
    for parameter in _parameters(document):
        if parameter["name"] in _PARAMETERS:
            parameter.setdefault("description", _PARAMETERS[parameter["name"]])


def _parameters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        for operation in operations.values():
            yield from operation.get("parameters", ())

"""Values for the examples of the OpenAPI document, by field name.

They tell one story: a shop in Berlin pays the first month of its plan, 49.00 EUR plus 19 % tax. A
field whose value differs in one schema is listed in `PARTS`. Request bodies show only the required
fields and those in `PARTS`.
"""

from collections.abc import Mapping
from typing import Any, Final

from billing.core import ids
from billing.platform.outbox.fields import TAIL

_END: Final = "2027-02-01T09:00:00Z"

_IDS: Final = {
    name: prefix + TAIL
    for prefix, names in {
        ids.ACCOUNT: ("account_id", "user", "account_ids"),
        ids.ADDRESS: ("address_id",),
        ids.ADJUSTMENT: ("adjustment_id",),
        ids.ATTEMPT: ("attempt_id",),
        ids.BILLING_RECORD: ("billing_id", "correction_id"),
        ids.BUDGET: ("budget_id",),
        ids.CHANGE: ("change_id",),
        ids.CONTRACT: ("contract_id",),
        ids.CREDIT_NOTE: ("credit_note_id",),
        ids.DISPUTE: ("dispute_id",),
        ids.DUNNING_CASE: ("dunning_case_id",),
        ids.EVENT: ("event_id",),
        ids.HOLD: ("hold_id",),
        ids.INVOICE: ("invoice_id", "latest_invoice_id", "invoice_ids"),
        ids.ISSUER: ("issuer_id",),
        ids.LIMIT: ("override_id",),
        ids.LOT: ("lot_id",),
        ids.MIGRATION_REQUEST: ("migration_request_id", "requestId"),
        ids.PACK: ("package_id",),
        ids.PAYMENT: ("payment_id",),
        ids.PAYMENT_METHOD: ("payment_method_id", "new_default", "id"),
        ids.PLAN: ("plan_id",),
        ids.PORTAL_SESSION: ("portal_session_id",),
        ids.PURCHASE: ("purchase_id",),
        ids.QUOTA: ("quota_id", "subject_id"),
        ids.RECONCILIATION: ("run_id",),
        ids.REFUND: ("refund_id",),
        ids.SETUP_INTENT: ("setup_intent_id",),
        ids.SUBSCRIPTION: ("subscription_id", "subscription", "subscription_ids"),
        ids.TOP_UP: ("top_up_id",),
        ids.TRANSACTION: ("transaction_id",),
        ids.TRIAL: ("trial_id",),
        ids.USAGE_RECORD: ("usage_record_id",),
    }.items()
    for name in names
}

_ENDS: Final = (
    "current_period_end cycle_end due_date effective_to end evidence_due_at expires_at first_at "
    "next_at next_due next_due_at passes_at period_end resets_at stats_period_end trial_end "
    "valid_until window_end"
)

# Fields of things that do not happen in the story.
_NOTHING: Final = (
    "blocked canceled_at cancel_at cancel_comment cancel_reason clock_at clock_status "
    "close_reason closed_at decision_reason decline_class decline_code end_reason ended_at "
    "error exempt_because failure failure_code failure_message latest_decline next_cursor "
    "offset only_if page pause_reason paused_at pending_change purchase scope stopped_at "
    "stripe_event_id stripe_invoice_id stripe_subscription_id target undecided voids line2 "
    "state commitment given_back dunning resumption checkout_url detail organization_id session_id "
    "minimum_cents billing_threshold_cents monthly_cap_cents transaction_reference tiers "
    "settlement seats days_until_due refused barred_at"
)

_MONEY: Final = {
    "amount": 5831, "amount_cents": 5831, "amount_credited": 0, "amount_due": 5831,
    "amount_due_cents": 5831, "amount_minor": 5831, "amount_paid": 5831, "amount_paid_cents": 5831,
    "amount_received": 5831, "amount_refunded": 0, "amount_remaining": 0, "balance_applied": 0,
    "balance_applied_cents": 0, "balance_cents": 0, "charged_cents": 5831,
    "credited_cents": 0, "discount": 0, "discount_cents": 0, "due_now_cents": 5831,
    "from_balance_cents": 0, "kept_cents": 5831, "limit_cents": 10000, "price_cents": 4900,
    "price_cents_before": 3900, "price_monthly": 4900, "price_yearly": 49000,
    "received_cents": 5831, "refunded_cents": 0, "remaining_cents": 0, "subtotal": 4900,
    "subtotal_cents": 4900,
    "tax": 931, "tax_amount": 931, "tax_cents": 931, "tax_included": 0, "threshold_cents": 50000,
    "total": 5831, "total_cents": 5831, "value_cents": 999,
}  # fmt: skip

_NUMBERS: Final = {
    "exp_month": 12, "exp_year": 2030, "limit": 20, "port": 8080,
    "status": 409, "trial_days": 14, "violations": 0, "pages": 1,
    "slot_days": [0, 3, 7], "unpaid_days": 60, "confidence_percent": 80, "days_remaining": 14,
    "alert_percents": [80, 100], "redeemed": 0, "failures": 0, "deliveries": 1, "replays": 0,
    "failed_billing_records": 0, "pending_billing_records": 0, "rejected": 0, "duplicate": 0,
    "row": 0, "extended_days": 0, "offset": 0, "open_cases": 0, "at_most": None,
    "billed_before": None, "least_cents": None, "spent_cents": None, "span_seconds": None,
    "quantity_next_period": 1,
}  # fmt: skip

_WORDS: Final = {
    "included": "500", "monthly_credits": "300", "units": "500", "credits": "100",
    "action": "invoice.paid", "actor": "billing-team", "add_on": "ai-500", "allowance": "month",
    "api": "/api/v1", "billing_email": "invoices@shop.example", "brand": "visa",
    "capabilities": ["billing"], "category": "standard", "cause": "invoice",
    "cc_emails": ["books@shop.example"], "changes": ["plan pro: now version 2"], "city": "Berlin",
    "client_secret": "pi_1_secret_2", "code": "WELCOME20", "collection": "charge",
    "comment": "We closed the shop", "correlation_id": "01k3v9q2w7e8r", "country": "DE",
    "countries": ["DE", "FR"], "coupon": "WELCOME20", "currencies": ["EUR"], "currency": "EUR",
    "channel": "operators", "current_plan": "pro", "decided_by": "billing-team",
    "description": "Pro, monthly", "duration": "repeating", "email": "shop@shop.example",
    "examples": [], "explained": "1 of 49.00 EUR: 49.00 EUR", "external_id": "shop-4711",
    "family": "app", "feature": "api_access", "feature_type": "ai_responses",
    "feature_types": ["ai_responses"], "final_action": "unpaid", "flow": "saved_card",
    "footer": "Managing director: A. Sample", "gives_up": [],
    "idempotency_key_hash": "9f86d081884c",
    "interval": "month", "invariant": "invoice_totals", "invoice_number": "INV-000001",
    "invoice_pdf_url": f"/api/v1/billing/invoices/inv{TAIL}/pdf", "invoice_status": "paid",
    "environment": "production", "handled_by": "billing-team", "requested_by": "shop-owner",
    "notes": "Our shop is tested; please move us on a Monday",
    "notesPreview": "Our shop is tested; please move us on a Monday",
    "issuer": "main", "jurisdiction": "DE", "key": "pro", "kind": "plan",
    "kinds": ["subscription"], "label": "The company's card", "last4": "4242",
    "legacy_status": "paid", "legal_name": "Shop GmbH", "line1": "1 Sample Street",
    "locale": "en", "logo": "data:image/png;base64,iVBORw0KGgo=", "memo": "Thank you",
    "message": "Your card was declined.", "meter": "ai_responses", "model": "gpt-4",
    "moves_cursor": "WyIwMTkzIl0", "name": "Pro",
    "next_step": "renewal", "number": "INV-000001", "object_id": "pi_1",
    "on_early_end": "charge", "operation": "article", "owner_id": None, "pack": "small",
    "payment_method": "saved_card", "payment_reference": "P-01H455VB", "plan": "pro",
    "plan_name": "Pro", "platform": "stripe", "platform_domain": None, "po_number": "PO-4711",
    "postal_code": "10115", "preview_token": "eyJhIjoxfQ.c2lnbmVk", "product": "gpt-4",
    "product_id": "gpt-4", "provider": "stripe", "provider_charge": "ch_1",
    "provider_intent": "pi_1", "provider_reference": "seti_1", "provider_session": None,
    "provider_type": "card", "reason": "goodwill",
    "receipt_pdf_url": f"/api/v1/billing/invoices/inv{TAIL}/receipt", "reference": "CRM-2027-17",
    "request_id": None, "result": "paid", "return_url": "https://shop.example/paid",
    "route": "POST /api/v1/billing/purchases", "rule": "oldest first",
    "sentence": "Every invoice's total is the sum of its lines",
    "service": "billing_service", "service_type": "model_inference",
    "service_types": ["model_inference"], "sold": ["pro"], "source": "stripe", "status": "active",
    "step": "renewal", "stripePublishableKey": "pk_test_1", "stripe_dispute_id": "dp_1",
    "stripe_id": "re_1",
    "stripe_payment_intent_id": "pi_1", "stripe_price_id": "price_1",
    "stripe_price_id_monthly": "price_1", "stripe_price_id_yearly": "price_2",
    "stripe_product_id": "prod_1", "stripe_refund_id": "re_1", "subject": f"inv{TAIL}",
    "submitted_by": "shop-owner", "subscription_status": "active", "tax_category": "standard",
    "tax_ids": ["VAT DE136695976"], "then": "overage", "title": "Conflict", "type": "card",
    "unit": "response", "url": "https://billing.stripe.com/p/session/1", "usage_amount": "1000",
    "user_id": "user-1", "value": "4711", "vat_id": "DE136695976", "vat_name": "Shop GmbH",
    "verdict": "fulfilled once", "verified_as": None, "version": "1.0.0", "window": "cycle",
    "words": "the invoice is paid", "workflow_id": f"subscription/sub{TAIL}",
    "zone": "Europe/Berlin",
}  # fmt: skip

_THINGS: Final[Mapping[str, Any]] = {
    "amounts": {}, "billing_threshold": {"EUR": 50000}, "by_method": {"payment_charge": "58.31"},
    "by_service": {"model_inference": "58.31"}, "by_meter": {"ai_responses": "0"},
    "change": {"kind": "plan", "wanted": {"plan": "pro"}},
    "current_period": {"ai_responses": "120"},
    "dependencies": {}, "features": {"api_access": True}, "limits_by_name": {"ai_responses": "500"},
    "meters": {}, "discounts": [], "credit_notes": [], "scheduled_changes": [], "add_ons": [],
     "prices": {"EUR": "0.02"}, "rates": {"standard": "19", "reduced": "7"},
    "revenue_by_currency": {"EUR": "58.31"}, "revenue_by_method": {"payment_charge": "58.31"},
    "revenue_by_service": {"model_inference": "58.31"}, "units": {"ai_responses": "120"},
    "unpaid_limit": {"EUR": 10000}, "usage_details": {"tokens": 1200},
    "wanted": {"plan": "pro"},
}  # fmt: skip

_YES: Final = (
    "allowed available billingEnabled billingPaymentMethods consistent deleted granted is_active "
    "is_current is_default is_open is_paid ok started use_balance"
)

FIELDS: Final[Mapping[str, Any]] = {
    **_IDS, **dict.fromkeys(_ENDS.split(), _END), **_MONEY, **_NUMBERS, **_WORDS, **_THINGS,
    **dict.fromkeys(_NOTHING.split()), **dict.fromkeys(_YES.split(), True),
}  # fmt: skip
"""The value of a field with this name, where its schema accepts it."""

PARTS: Final[Mapping[str, Mapping[str, Any]]] = {
    # Bodies: optional fields worth showing, beside those that are required.
    "AccountBody": {"name": "Shop GmbH", "country": "DE", "zone": "Europe/Berlin"},
    "AddressBody": {"postal_code": "10115", "is_default": True},
    "AddressChangeBody": {"city": "Potsdam", "postal_code": "14467"},
    "AdjustBody": {"amount": "100"},
    "AgreeBody": {"currency": "EUR", "terms": {"unit_price": "0.001"}},
    "ApproveBody": {"amount_cents": 5831, "currency": "EUR"},
    "AutoTopUpBody": {"threshold": "50"},
    "BillingDetailsBody": {
        "legal_name": "Shop GmbH",
        "po_number": "PO-4711",
        "custom_fields": [{"name": "Cost center", "value": "4711"}],
    },
    "BudgetBody": {"limit": "1000", "then": "block"},
    "CancelBody": {"at": "period_end", "reason": "too_expensive"},
    "CaptureBody": {"amount": "2.00", "reason": "article written"},
    "ChangeBody": {"plan": "pro", "at": "now"},
    "CheckBody": {"feature_type": "ai_responses", "requested_amount": "1"},
    "ClockBody": {"advance_days": 31},
    "CommitmentBody": {"amount_cents": 1200000, "periods": 12},
    "ContractBody": {
        "reference": "CRM-2027-17",
        "days_until_due": 30,
        "collection": "send_invoice",
        "commitment": {"amount_cents": 1200000, "periods": 12},
    },
    "ContractPriceBody": {"amount_cents": 90000},
    "NewCoupon": {"name": "Welcome", "percent": "20", "duration": "repeating", "periods": 3},
    "CreditNoteBody": {"amount_cents": 931},
    "DefaultBody": {"confirm": "DEFAULT"},
    "DefaultPlanBody": {"plan": "free"},
    "HoldBody": {"amount": "2.00", "reason": "write an article"},
    "InvoiceWordsBody": {
        "po_number": "PO-4711",
        "custom_fields": [{"name": "Cost center", "value": "4711"}],
    },
    "IssuerBody": {"name": "Sample Software GmbH"},
    "JurisdictionSpec": {"name": "USt"},
    "LimitBody": {"included": "5000"},
    "ManualBody": {"payment_method": "bank_transfer", "transaction_reference": "TRX-2027-0004711"},
    "HandledBody": {"comment": "moved on 4 January, keys sent"},
    "MigrationBody": {
        "environment": "production",
        "notes": "Our shop is tested; please move us on a Monday",
    },
    "MoveBody": {"reason": "prices of 2027"},
    "MeterSpec": {"name": "AI responses"},
    "OverdraftBody": {"overdraft": "100"},
    "PackBody": {"payment_method": "saved_card"},
    "PackSpec": {"name": "Small", "credits": "100", "prices": {"USD": {"amount_minor": 999}}},
    "PauseBody": {"at": "period_end"},
    "PaymentKindSpec": {"kind": "other", "countries": ["DE", "FR"], "currencies": ["EUR"]},
    "PayBody": {"payment_method": "saved_card"},
    "PayOverdueBody": {"dry_run": True},
    "PlanSpec": {"prices": {"month": {"EUR": {"amount_minor": 4900}}}},
    "PortalBody": {"return_url": "https://shop.example/billing"},
    "ProductSpec": {"name": "GPT-4", "prices": {"CREDIT": "0.002"}},
    "PurchaseBody": {"payment_method": "saved_card", "expected_amount_cents": 999},
    "QuotaBody": {"limit": "1000", "feature_type": "ai_responses", "window": "day"},
    "ReconcileBody": {"acknowledge": True},
    "RecordedBody": {"amount_cents": 5831, "currency": "EUR"},
    "RefundBody": {"reason": "a month too much", "amount_cents": 931},
    "RejectBody": {"reason": "nothing came"},
    "RemoveBody": {"confirm": "DELETE"},
    "ResumeBody": {"payment_method_id": _IDS["payment_method_id"]},
    "RetryBody": {"payment_method_id": _IDS["payment_method_id"]},
    "SetupBody": {"make_default": True},
    "SteerBody": {"past_due_from": "2027-01-31T09:00:00Z"},
    "SubscribeBody": {"interval": "month", "payment_method_id": _IDS["payment_method_id"]},
    "ThresholdBody": {"reason": "a new customer"},
    "UseBody": {"product_id": "gpt-4"},
    "UseRow": {"feature_type": "ai_responses", "usage_amount": "1"},
    "VoidBody": {"reason": "sent twice"},
    "WishBody": {"plan": "pro"},
    "ExtendCaseBody": {"days": 3, "reason": "waits for a transfer"},
    "CaseReasonBody": {"reason": "waits for a transfer"},
    "ExtendSubscriptionBody": {"days": 7, "reason": "an outage"},
    # Answers.
    "AttemptAnswer": {
        "status": "declined",
        "slot": 0,
        "decline_code": "insufficient_funds",
        "decline_class": "soft",
        "message": "Your card has insufficient funds.",
    },
    "AccountAnswer": {
        "id": _IDS["account_id"],
        "name": "Shop GmbH",
        "kind": "merchant",
        "verified_as": [],
    },
    "ClockAnswer": {"status": "resting"},
    "CommitmentPart": {
        "amount_cents": 1200000,
        "periods": 12,
        "spent_cents": 98000,
        "remaining_cents": 1102000,
        "ends_at": "2028-01-01T09:00:00Z",
    },
    "CommitmentAnswer": {"amount_cents": 1200000, "periods": 12},
    "ContractPriceAnswer": {"amount_cents": 90000},
    "CreditNoteAnswer": {"number": "CN-000001", "amount": 931, "tax": 149, "taxes": []},
    "CouponAnswer": {"name": "Welcome", "percent": "20", "periods": 3, "max_redemptions": 100},
    "InvoiceAnswer": {"status": "paid"},
    "MigrationAnswer": {"status": "queued", "handledAt": None},
    "MigrationRequestAnswer": {"status": "handled", "comment": "moved on 4 January, keys sent"},
    "InvoiceDetail": {"status": "paid"},
    "LineAnswer": {"amount": 4900, "quantity": "1", "unit_amount": "4900"},
    "LineTax": {"amount": 931, "rate": "19", "name": "USt", "reason": None},
    "NumberedPagination": {"page": 1, "total": 1},
    "Pagination": {"page": 1, "total": 1},
    "PaymentAnswer": {"status": "succeeded"},
    "ProblemBody": {"type": "urn:durable-billing:problem:conflict", "detail": "it changed"},
    "PurchaseAnswer": {"status": "completed", "credits": "100", "amount_cents": 999},
    "RateAnswer": {"name": "USt", "rate": "19", "reason": None},
    "RecommendationsAnswer": {"data": []},
    "RefundAnswer": {
        "status": "succeeded",
        "amount_cents": 931,
        "credited_cents": 931,
    },
    "SubscriptionAnswer": {"amount_cents": 4900},
    "ContractAnswer": {"collection": "send_invoice", "days_until_due": 30},
    "ChangeAnswer": {
        "status": "scheduled",
        "reason": None,
        "invoice_id": None,
        "expires_at": None,
        "decided_at": None,
        "effective_at": _END,
    },
    "SetupAnswer": {
        "status": "waiting",
        "client_secret": "seti_1_secret_2",
        "payment_method_id": None,
    },
    "CustomFieldAnswer": {"name": "Cost center"},
    "OwedPart": {"status": "open"},
    "BalanceEntryAnswer": {
        "kind": "adjustment",
        "cause": "a good customer",
        "amount_cents": 500,
        "invoice_id": None,
        "payment_id": None,
    },
    "MoneyBalanceAnswer": {"balance_cents": 500},
    "PriceAnswer": {"amount_cents": 4900, "label": "49.00 EUR per month"},
    "DecidedAnswer": {
        "status": "completed",
        "payment_method": "bank_transfer",
        "attempt_id": None,
        "payment_method_id": None,
        "stripe_payment_intent_id": None,
        "transaction_reference": "TRX-2027-0004711",
    },
    "DisputeAnswer": {"status": "open", "stripe_status": "needs_response", "reason": "fraudulent"},
    "OverdueAnswer": {"dry_run": True},
    "AuditEntry": {"detail": {"amount_cents": 5831}},
    "SoldAnswer": {"price_cents": 4900, "amount_cents": 4900, "interval": "monthly"},
    "BoughtAnswer": {"status": "completed", "credits": "100", "amount_cents": 999},
    "FoundAnswer": {
        "kind": "invoice",
        "id": f"inv{TAIL}",
        "words": "invoice INV-000001, paid, 58.31 EUR",
        "matched": "number",
        "status": "paid",
    },
    "TaxAnswer": {"vat_status": "valid"},
}
"""Fields whose value differs in one schema, and optional fields shown in a body's example."""

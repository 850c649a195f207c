"""Every error code of the product, with its status and its sentence.

A code never changes its meaning. An error that is raised without a sentence has the one of this
table; for the others the table has an example. A test finds codes that are raised but not here.
"""

from typing import Final, NamedTuple

_MAY_BE_DONE: Final = "a write may have been done: repeat it with the same key"


class Problem(NamedTuple):
    """The HTTP status of a code, and its sentence, or an example of it."""

    status: int
    detail: str
    on_manual: int | None = None
    """The status on the manual flow, whose callers expect a different one [J5]."""


CODES: Final[dict[str, Problem]] = {
    # Who is calling, and for whom
    "UNAUTHENTICATED": Problem(401, "a valid bearer token is required"),
    "FORBIDDEN": Problem(403, "this requires the role billing"),
    "PLATFORM_MISMATCH": Problem(403, "the platform headers name another account's shop"),
    "ACCOUNT_REQUIRED": Problem(400, "name the account in the header X-Account-Id"),
    "MERCHANT_NOT_FOUND": Problem(404, "no such account"),
    # The request itself
    "BAD_REQUEST": Problem(400, "the request could not be read"),
    "INVALID_JSON": Problem(400, "the body is not JSON, or contains text that cannot be stored"),
    "HEADER_TOO_LARGE": Problem(431, "the header is larger than 65536 bytes"),
    "REQUEST_TIMEOUT": Problem(408, "the request was not received in time"),
    "BODY_TOO_LARGE": Problem(413, "the body is larger than 1048576 bytes"),
    "VALIDATION_FAILED": Problem(422, "amount_cents: Input should be a valid integer"),
    "INVALID_CURSOR": Problem(422, "this cursor does not belong to this list"),
    "INVALID_EVENT_TYPE": Problem(422, "unknown event type evt.billing.paid; see docs/events.md"),
    "NOT_FOUND": Problem(404, "no such path or object"),
    "METHOD_NOT_ALLOWED": Problem(405, "this path does not support this method"),
    "RATE_LIMITED": Problem(429, "the caller's rate limit is exceeded"),
    "IDEMPOTENCY_KEY_REQUIRED": Problem(
        400, "send an Idempotency-Key: without one a repeat would do it twice"
    ),
    "ACKNOWLEDGEMENT_REQUIRED": Problem(400, "set acknowledge to true: the run reads all payments"),
    "IDEMPOTENCY_KEY_INVALID": Problem(
        400, "an Idempotency-Key must have 1 to 255 printable ASCII characters"
    ),
    "IDEMPOTENCY_KEY_REUSED": Problem(422, "this Idempotency-Key was used with a different body"),
    "IDEMPOTENCY_IN_FLIGHT": Problem(409, "the first request with this key is still running"),
    # Accounts
    "ACCOUNT_FIXED": Problem(409, "is_test cannot change after the account is created"),
    "ISSUER_NOT_FOUND": Problem(404, "no such issuer"),
    "ISSUER_IS_DEFAULT": Problem(
        409, "this issuer is the default; make another one the default instead"
    ),
    "INVALID_LOGO": Problem(422, "a logo must be a PNG or JPEG of at most 200,000 bytes"),
    "TEST_ACCOUNT_ON_LIVE_KEY": Problem(409, "test accounts cannot be used with a live Stripe key"),
    "CLOCK_NEEDS_TEST_ACCOUNT": Problem(409, "only a test account can have its own clock"),
    "CLOCK_BACKWARDS": Problem(422, "a clock can only move forward"),
    "EVENTS_REWOUND": Problem(
        409, "there is no event 57; if the database was restored, continue after 41"
    ),
    "EVENTS_GONE": Problem(
        410, "events up to 41 were deleted; re-read the affected objects and continue after 41"
    ),
    # Catalog, credits, trials, purchases
    "INVALID_TAX_ID": Problem(422, "not a valid EU VAT number"),
    "INVALID_REGION": Problem(422, "state must be an ISO 3166-2 code: ON, QC"),
    "INVALID_COUPON": Problem(400, "the coupon is no longer valid"),
    "COUPON_EXISTS": Problem(409, "a coupon SPRING already exists"),
    "COUPON_NOT_FOUND": Problem(404, "no such coupon"),
    "INVALID_PACK": Problem(400, "no such credit pack"),
    "PLAN_NOT_FOUND": Problem(404, "no such plan"),
    "CURRENCY_MISMATCH": Problem(409, "the account pays in EUR; there is no price in EUR"),
    "INTERVAL_NOT_OFFERED": Problem(
        409, "plan pro is not sold at this interval; available: month, year"
    ),
    "CURRENCY_NOT_CHARGED": Problem(409, "cards cannot be charged in CLF"),
    "PAYMENT_METHOD_NOT_OFFERED": Problem(409, "this payment method is not offered"),
    "PRICE_NOT_OFFERED": Problem(409, "the subscription already has the current price"),
    "PRICE_NOT_FOUND": Problem(404, "plan pro has no version 3 of this price"),
    "CREDITED_BEFORE": Problem(409, "part of this invoice has already been credited"),
    "CHANGE_TOO_LARGE": Problem(
        409,
        "a price would be removed or change by more than half; set allow_large_change to confirm",
    ),
    "PRICE_CHANGED": Problem(409, "the price has changed; fetch it and retry"),
    "INSUFFICIENT_CREDITS": Problem(402, "5.00 credits are needed, 2.00 are available"),
    "HOLD_NOT_FOUND": Problem(404, "no such hold"),
    "HOLD_RESOLVED": Problem(409, "the hold is already captured"),
    "HOLD_EXCEEDED": Problem(422, "a capture cannot exceed the amount of the hold"),
    "HOLD_SCOPE": Problem(409, "the hold's credits are for another meter"),
    "BALANCE_TOO_LARGE": Problem(
        422, "an account can receive at most 900,000,000,000,000 credits in total"
    ),
    "AMOUNT_REQUIRED": Problem(422, "the payer reported more than is owed; state what arrived"),
    "INVALID_AMOUNT": Problem(
        422,
        "the amount must be above 0 once it is rounded to steps of 0.000001 credits",
    ),
    "INVALID_EXPIRY": Problem(422, "a hold must expire after the account's current time"),
    "TRIAL_ALREADY_USED": Problem(409, "this account has already used its trial"),
    "TRIAL_NOT_FOUND": Problem(404, "this account has no trial"),
    "PURCHASE_NOT_FOUND": Problem(404, "no such purchase"),
    "PURCHASE_STATE": Problem(409, "a purchase that is completed cannot be canceled"),
    "CARD_DECLINED": Problem(402, "the card was declined"),
    "PLATFORM_ERROR": Problem(
        502, "the payment provider did not carry out the request; nothing was charged"
    ),
    # Usage, products, quotas
    "PRODUCT_PRICING_NOT_FOUND": Problem(404, "Product pricing not found"),
    "PRICING_UNAVAILABLE": Problem(503, "the product service returned no price; retry later"),
    "PRODUCT_NOT_FOUND": Problem(404, "no such product"),
    "METER_NOT_FOUND": Problem(404, "no such meter"),
    "NO_ENTITLEMENT": Problem(403, "no plan of this account allows this use"),
    "UNPAID_LIMIT": Problem(402, "the unpaid limit is 100.00 USD; 99.50 USD is already unpaid"),
    "QUOTA_EXCEEDED": Problem(429, "Quota exceeded for service type"),
    "INVALID_QUOTA": Problem(
        422, "storage_gb is a level: its quota must be for the whole account, with the window cycle"
    ),
    "QUOTA_NOT_FOUND": Problem(404, "no such quota"),
    "LIMIT_NOT_FOUND": Problem(404, "this account has no limit of its own for this meter"),
    "CONTRACT_NOT_FOUND": Problem(404, "this account has no contract"),
    "CONTRACT_SOLD": Problem(
        409, "something was sold under the contract in this instant; repeat the request later"
    ),
    "TOO_MANY_ACCOUNTS": Problem(
        409, "there are too many accounts for one request: name one; `billing verify` checks all"
    ),
    "TOO_MANY_USES": Problem(
        409,
        "the account has too many uses for one request; `billing verify --account` checks it",
    ),
    "BUDGET_EXCEEDED": Problem(429, "this use would exceed a blocking budget"),
    "BUDGET_LIMIT": Problem(409, "an account has at most 20 budgets"),
    "BUDGET_NOT_FOUND": Problem(404, "no such budget"),
    "NOT_INCLUDED": Problem(409, "the plan does not cover this use"),
    "PAYMENT_CHARGE_NOT_OFFERED": Problem(409, "a card cannot be charged for this use"),
    "BILLED_ON_INVOICE": Problem(409, "an invoice charges this use"),
    "EVENT_TOO_OLD": Problem(
        422, "occurred_at: more than 35 days ago, or in a cycle that was credited"
    ),
    "EVENT_IN_FUTURE": Problem(422, "occurred_at: more than 5 minutes in the future"),
    "USAGE_TOO_LARGE": Problem(422, "one use is larger than its meter or its price allows"),
    "BILLING_RECORD_NOT_FOUND": Problem(404, "no such billing record"),
    "BILLING_RECORD_AWAY": Problem(410, "records of that month have been archived to a file"),
    "BILLING_RECORD_STATE": Problem(409, "a level reading cannot be voided"),
    # Subscriptions, invoices, payments
    "SUBSCRIPTION_NOT_FOUND": Problem(404, "this account has no subscription"),
    "SUBSCRIPTION_ENDING": Problem(
        503, "the previous subscription's first payment is being canceled; retry"
    ),
    "SUBSCRIPTION_EXISTS": Problem(409, "this account already has an open subscription"),
    "SUBSCRIPTION_STATE": Problem(409, "a subscription in state canceled accepts only: subscribe"),
    "CHANGE_PENDING": Problem(409, "a change of this subscription is awaiting payment"),
    "PREVIEW_EXPIRED": Problem(409, "the preview is out of date; preview again"),
    "CHANGE_NOT_FOUND": Problem(404, "no such change"),
    "CHANGE_NOT_SCHEDULED": Problem(409, "the change is already applied"),
    "CREDITS_SPENT": Problem(
        409, "the plan's credits are already spent; schedule the change for period_end"
    ),
    "UNITS_SPENT": Problem(
        409, "units of tokens are already spent; schedule the change for period_end"
    ),
    "TRIAL_NOT_OFFERED": Problem(
        409, "plan enterprise has no trial; schedule the change for period_end"
    ),
    "CHANGE_EXPIRED": Problem(409, "the change was dropped: not paid in time"),
    "QUANTITY_NOT_OFFERED": Problem(409, "plan basic is sold with a quantity of 1 only"),
    "PRICE_TOO_LARGE": Problem(
        409, "a period would cost 1000000000000000 minor units or more; order fewer"
    ),
    "ADD_ON_NOT_FOUND": Problem(404, "plan basic has no add-on 'more'"),
    "ADD_ON_NOT_OFFERED": Problem(409, "ai-500 has no price in JPY"),
    "PAYMENT_OVERDUE": Problem(409, "pay the overdue invoice first"),
    "INVOICE_NOT_FOUND": Problem(404, "no such invoice"),
    "CREDIT_NOTE_NOT_FOUND": Problem(404, "no such credit note"),
    "CREDIT_NOTE_TOO_LARGE": Problem(409, "the amount exceeds what can still be credited"),
    "REFUND_TOO_LARGE": Problem(409, "the amount exceeds what can still be refunded"),
    "REFUND_STEP": Problem(409, "the amount must be a multiple of 10"),
    "INVALID_DATE": Problem(422, "received_on is in the future"),
    "DOCUMENT_UNAVAILABLE": Problem(503, "the document could not be rendered in time"),
    "INVOICE_STATE": Problem(409, "an invoice that is paid cannot be voided"),
    "INVOICE_ALREADY_PAID": Problem(409, "this invoice is already paid", on_manual=400),
    "STEP_DONE": Problem(409, "this step is already done; fetch the object again"),
    "PAYMENT_NOT_FOUND": Problem(404, "no such payment"),
    "PAYMENT_STATE": Problem(
        409,
        "this payment is completed; only payments awaiting approval can be approved or rejected",
    ),
    "PAYMENT_REFERENCE_USED": Problem(409, "this transaction_reference was already submitted"),
    "FOUR_EYES": Problem(403, "you cannot approve or reject a payment that you submitted"),
    "MISSING_FIELD": Problem(400, "missing: transaction_reference"),
    "PAYMENT_PENDING": Problem(409, "a manual payment of this invoice is awaiting approval"),
    "ADDRESS_NOT_FOUND": Problem(404, "no such address"),
    "ADDRESS_LIMIT": Problem(409, "an account has at most 50 addresses"),
    "PAYMENT_METHOD_NOT_FOUND": Problem(404, "no such payment method"),
    "AMOUNT_TOO_LARGE": Problem(
        409, "the amount is above what a card can be charged; pay manually"
    ),
    "AMOUNT_TOO_SMALL": Problem(
        409, "the amount is below what a card can be charged; pay manually"
    ),
    "PAYMENT_METHOD_REQUIRED": Problem(409, "the account has no saved card"),
    "SETUP_INTENT_NOT_FOUND": Problem(404, "no such setup intent"),
    "SETUP_INTENT_INCOMPLETE": Problem(409, "no card was saved: the setup intent is waiting"),
    "PAYMENT_METHOD_IS_DEFAULT": Problem(
        409, "the default is already charged first; choose another as the backup"
    ),
    "PAYMENT_METHOD_IN_USE": Problem(
        409, "an open subscription pays with this method; add another first"
    ),
    # Webhooks
    "INVALID_SIGNATURE": Problem(400, "webhook refused: no signature matches"),
    "INVALID_PAYLOAD": Problem(400, "the body is not an event"),
    # Migration requests
    "MIGRATION_REQUEST_NOT_FOUND": Problem(404, "no such migration request"),
    "MIGRATION_REQUEST_HANDLED": Problem(409, "this migration request is already handled"),
    "MIGRATION_REQUEST_LIMIT": Problem(
        409, "5 migration requests of this account wait for an operator; send more later"
    ),
    # Dunning
    "DUNNING_CASE_NOT_FOUND": Problem(404, "no such dunning case"),
    "DUNNING_CASE_CLOSED": Problem(409, "this case is recovered"),
    "NOTHING_OVERDUE": Problem(409, "this subscription has nothing overdue"),
    "INVALID_EXTENSION": Problem(422, "a case can be extended by at most 90 days in total"),
    # Matters and the inbox
    "MATTER_NOT_FOUND": Problem(404, "no such matter"),
    "RECONCILIATION_NOT_FOUND": Problem(404, "no such reconciliation"),
    "MATTER_NOT_HALTED": Problem(409, "this matter is not halted"),
    "WEBHOOK_NOT_FOUND": Problem(404, "no such event"),
    "WEBHOOK_UNMATCHED": Problem(409, "this event matches no matter of this service"),
    "WEBHOOK_HAS_OWNER": Problem(
        409, "this event is processed; only unmatched events can be dismissed"
    ),
    "WEBHOOK_EMPTIED": Problem(
        409, "this event's payload was deleted on 2026-03-01; check its payment instead"
    ),
    # The worker's steps, and the provider
    "BILLING_DISABLED": Problem(503, "BILLING_ENABLED is false: no new charges"),
    "PROVIDER_KEY": Problem(503, "Stripe does not accept our key"),
    "PROVIDER_UNAVAILABLE": Problem(503, "Stripe did not decide"),
    "PROVIDER_SILENT": Problem(503, "Stripe did not answer in time"),
    "PROVIDER_KEY_IN_USE": Problem(503, "Stripe is still carrying out a call with this key"),
    "PROVIDER_FAILURE_KEPT": Problem(503, "Stripe repeats a failure that it keeps under this key"),
    "PROVIDER_KEY_REUSED": Problem(502, "this key was sent with other parameters"),
    "PROVIDER_REFUSED": Problem(502, "Stripe refused the request: No such payment_method"),
    "PROVIDER_REFUSES_AMOUNT": Problem(502, "Stripe refused the request: the amount is too small"),
    "PROVIDER_HAS_NO_CUSTOMER": Problem(502, "Stripe refused the request: No such customer"),
    "PROVIDER_NOT_CANCELED": Problem(503, "the provider did not cancel the payment"),
    "PAYMENT_NOT_OPEN": Problem(409, "open the payment before charging it"),
    "NO_ATTEMPT": Problem(409, "a card is tried only for an attempt on record"),
    "ATTEMPT_DECIDED": Problem(503, "another worker has decided this attempt"),
    "PAYPAL_OFF": Problem(503, "PayPal is not set up (BILLING_PAYPAL_CLIENT_ID)"),
    "UNKNOWN_COMMAND": Problem(422, "no command 'retry' for this matter"),
    "INVOICE_REQUIRED": Problem(409, "name the invoice: 2 are unpaid"),
    # The service and its parts
    "INTERNAL": Problem(500, "internal error; it is logged under this correlation_id"),
    "BILLING_PARKED": Problem(
        503, "billing is parked: no money moves until `billing unpark` is run"
    ),
    "DATABASE_UNAVAILABLE": Problem(503, f"the database is unavailable; {_MAY_BE_DONE}"),
    "TEMPORAL_UNAVAILABLE": Problem(503, f"Temporal is unavailable; {_MAY_BE_DONE}"),
    "UNAVAILABLE": Problem(503, f"a part of the service is unavailable; {_MAY_BE_DONE}"),
}

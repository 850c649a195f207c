"""Every code the API answers with, its status and an example sentence: one table for docs.

A code is a promise to callers: it never changes its meaning. Routes name the codes they may
answer through `problems.responses`; a test finds codes that are raised but not listed.
"""

from typing import Final, NamedTuple


class Problem(NamedTuple):
    """Status, and an example of the sentence that comes with it."""

    status: int
    detail: str


CODES: Final[dict[str, Problem]] = {
    # Who is calling, and for whom
    "UNAUTHENTICATED": Problem(401, "a valid bearer token is needed"),
    "FORBIDDEN": Problem(403, "this needs the role billing"),
    "PLATFORM_MISMATCH": Problem(403, "the platform headers name another shop"),
    "ACCOUNT_REQUIRED": Problem(400, "name the account in the header X-Account-Id"),
    "MERCHANT_NOT_FOUND": Problem(404, "no such account"),
    # The request itself
    "BAD_REQUEST": Problem(400, "the request could not be read"),
    "INVALID_JSON": Problem(400, "the body is not JSON that can be stored"),
    "BODY_TOO_LARGE": Problem(413, "the body is larger than 1048576 bytes"),
    "VALIDATION_FAILED": Problem(422, "amount_minor: Input should be a valid integer"),
    "INVALID_CURSOR": Problem(422, "the cursor is not one this list gave out"),
    "NOT_FOUND": Problem(404, "there is nothing here"),
    "METHOD_NOT_ALLOWED": Problem(405, "this path does not take that method"),
    "RATE_LIMITED": Problem(429, "more than 600 requests per 1 minute"),
    "IDEMPOTENCY_KEY_REQUIRED": Problem(400, "send an Idempotency-Key: money moves here"),
    "IDEMPOTENCY_KEY_INVALID": Problem(400, "an Idempotency-Key is 1 to 255 visible characters"),
    "IDEMPOTENCY_KEY_REUSED": Problem(422, "this Idempotency-Key was used for another body"),
    "IDEMPOTENCY_IN_FLIGHT": Problem(409, "the first request with this key is still running"),
    # Accounts
    "ACCOUNT_FIXED": Problem(409, "is_test is fixed when the account is made"),
    "ISSUER_NOT_FOUND": Problem(404, "no such issuer"),
    "CLOCK_NEEDS_TEST_ACCOUNT": Problem(409, "only a test account may have a clock of its own"),
    "CLOCK_BACKWARDS": Problem(422, "a clock only moves forward"),
    # Catalog, credits, trials, purchases
    "INVALID_PACK": Problem(400, "no such credit pack"),
    "PLAN_NOT_FOUND": Problem(404, "no such plan"),
    "CURRENCY_MISMATCH": Problem(409, "the account pays in EUR; this has no price in it"),
    "INSUFFICIENT_CREDITS": Problem(402, "5.00 credits are needed, 2.00 are there"),
    "HOLD_NOT_FOUND": Problem(404, "no such hold"),
    "HOLD_RESOLVED": Problem(409, "the hold was captured"),
    "HOLD_EXCEEDED": Problem(422, "a capture may not take more than was held"),
    "INVALID_AMOUNT": Problem(422, "credits have at most 12 decimals"),
    "INVALID_EXPIRY": Problem(422, "a hold must end after the account's now"),
    "INVALID_KEY": Problem(422, "a key has 1 to 200 characters"),
    "TRIAL_ALREADY_USED": Problem(409, "the trial of this account was used"),
    "TRIAL_NOT_FOUND": Problem(404, "this account has no trial"),
    "PURCHASE_NOT_FOUND": Problem(404, "no such purchase"),
    "CARD_DECLINED": Problem(402, "the card was declined"),
    "PLATFORM_ERROR": Problem(502, "the payment provider refused; nothing was charged"),
    # Usage, products, quotas
    "PRODUCT_PRICING_NOT_FOUND": Problem(404, "Product pricing not found"),
    "PRICING_UNAVAILABLE": Problem(503, "the product service gives no price now"),
    "PRODUCT_NOT_FOUND": Problem(404, "no such product"),
    "METER_NOT_FOUND": Problem(404, "nothing by this name is counted"),
    "QUOTA_EXCEEDED": Problem(429, "Quota exceeded for service type"),
    "INVALID_QUOTA": Problem(
        422, "storage_gb is a level: its quotas are of the account, with the window cycle"
    ),
    "QUOTA_NOT_FOUND": Problem(404, "no such quota"),
    "LIMIT_NOT_FOUND": Problem(404, "nothing is agreed for this meter"),
    "BUDGET_EXCEEDED": Problem(429, "this use would go over a budget that blocks"),
    "BUDGET_LIMIT": Problem(409, "an account has at most 20 budgets"),
    "BUDGET_NOT_FOUND": Problem(404, "no such budget"),
    "NOT_INCLUDED": Problem(409, "the plan does not cover this use"),
    "PAYMENT_CHARGE_NOT_OFFERED": Problem(409, "a card cannot be charged for this use"),
    "BILLED_ON_INVOICE": Problem(409, "the next invoice charges this use"),
    "EVENT_TOO_OLD": Problem(422, "occurred_at: more than 35 days ago"),
    "EVENT_IN_FUTURE": Problem(422, "occurred_at: more than 5 minutes ahead"),
    "BILLING_RECORD_NOT_FOUND": Problem(404, "no such billing record"),
    # Subscriptions, invoices, payments
    "SUBSCRIPTION_NOT_FOUND": Problem(404, "this account has no subscription"),
    "SUBSCRIPTION_ENDING": Problem(
        503, "the first payment of the subscription before is called back"
    ),
    "SUBSCRIPTION_EXISTS": Problem(409, "this account has an open subscription"),
    "SUBSCRIPTION_STATE": Problem(409, "a canceled subscription takes only: subscribe"),
    "ADD_ON_NOT_FOUND": Problem(404, "plan basic has no add-on 'more'"),
    "ADD_ON_NOT_OFFERED": Problem(409, "ai-500 has no price in JPY"),
    "PAYMENT_OVERDUE": Problem(409, "pay what is overdue first"),
    "INVOICE_NOT_FOUND": Problem(404, "no such invoice"),
    "INVOICE_EXISTS": Problem(409, "this was billed in another account"),
    "INVOICE_STATE": Problem(409, "an invoice that is paid cannot be voided"),
    "INVOICE_ALREADY_PAID": Problem(400, "this invoice is paid"),
    "PAYMENT_NOT_FOUND": Problem(404, "no such payment"),
    "PAYMENT_STATE": Problem(409, "only a manual payment that awaits approval is decided"),
    "PAYMENT_REFERENCE_USED": Problem(409, "this transaction reference was submitted before"),
    "FOUR_EYES": Problem(403, "who submitted a payment does not decide on it"),
    "MISSING_FIELD": Problem(400, "transaction_reference is missing"),
    "PAYMENT_PENDING": Problem(409, "a payment of this invoice awaits approval"),
    "PAYMENT_METHOD_NOT_FOUND": Problem(404, "no such payment method"),
    "PAYMENT_METHOD_BARRED": Problem(409, "the bank asked never to try this card again"),
    "PAYMENT_METHOD_REQUIRED": Problem(409, "the account has no saved card"),
    "SETUP_INTENT_NOT_FOUND": Problem(404, "no such setup intent"),
    "SETUP_INTENT_INCOMPLETE": Problem(409, "no card was saved: the setup intent is waiting"),
    "PAYMENT_METHOD_IN_USE": Problem(409, "a paying subscription needs this method"),
    # Webhooks
    "INVALID_SIGNATURE": Problem(400, "webhook refused: no signature matches"),
    "INVALID_PAYLOAD": Problem(400, "the body is not a Stripe event"),
    # Dunning
    "DUNNING_CASE_NOT_FOUND": Problem(404, "no such dunning case"),
    "DUNNING_CASE_CLOSED": Problem(409, "this case is recovered"),
    "INVALID_EXTENSION": Problem(422, "a case extends by 1 to 90 days"),
    # Matters and the inbox
    "MATTER_NOT_FOUND": Problem(404, "no such matter"),
    "MATTER_NOT_HALTED": Problem(409, "this matter is not halted"),
    "WEBHOOK_NOT_FOUND": Problem(404, "no such event"),
    "WEBHOOK_UNMATCHED": Problem(409, "no matter here is behind this event"),
    # The service and its parts
    "INTERNAL": Problem(500, "something broke; the correlation id finds it in the logs"),
    "DATABASE_UNAVAILABLE": Problem(503, "the database is away; nothing was changed"),
    "TEMPORAL_UNAVAILABLE": Problem(503, "Temporal is away; nothing was changed"),
    "UNAVAILABLE": Problem(503, "a part of the service is away; nothing was changed"),
}


def passes(code: str) -> bool:
    """Whether what refused may be over later, so that the same is worth sending again."""
    return CODES[code].status >= 500


# Answers any route may give, by status, where no code of its own says more.
GENERIC: Final[dict[int, str]] = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    422: "VALIDATION_FAILED",
    429: "RATE_LIMITED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}

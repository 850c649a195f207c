"""Every type of published event: when it is sent, and its fields.

Fields are names of `fields.FIELDS`; a family may define its own meaning of one. `name?` is not in
every event of the type. After each test the suite checks the outbox against this list.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from billing.platform.outbox.fields import FIELDS, TAIL, Field

PREFIX: Final = "evt.billing."


class Kind(NamedTuple):
    """One type of a family."""

    name: str
    when: str
    fields: str = ""
    """Besides the fields of its family."""


class Family(NamedTuple):
    """Types about one noun, with their common fields."""

    name: str
    title: str
    fields: str
    kinds: tuple[Kind, ...]
    own: Mapping[str, Field] = {}
    """Fields whose meaning differs in this family."""


_NEXT: Final = "days_ahead of_plan interval price_cents currency how_to_cancel"
"""The fields of the notices before a period's end."""
_SOLD: Final = "interval quantity currency"
"""The fields, beside its plan, by which a subscription's state is known from its events."""

FAMILIES: Final = (
    Family("credits", "Credits", "", (
        Kind("purchased", "a purchase was paid, and its credits were granted",
             "purchase_id invoice_id pack credits amount_cents currency"),
        Kind("low", "the balance fell below the threshold, once per crossing",
             "account_id balance threshold"),
        Kind("empty", "no credits are left, once per crossing; also between two cycles' credits",
             "account_id"),
        Kind("expiring", "a lot's credits, held ones too, expire soon"
             " (`BILLING_EXPIRY_NOTICE_DAYS`), once per lot",
             "account_id lot_id kind credits expires_at"),
        Kind("expired", "a lot's credits expired unspent",
             "account_id lot_id credits balance reason"),
        Kind("rolled_over", "unspent credits of a plan rolled over into the next cycle",
             "account_id lot_id credits expires_at"),
        Kind("hold_expired", "a hold expired, neither captured nor released",
             "account_id hold_id credits"),
        Kind("adjusted", "an operator corrected the credits",
             "adjustment_id credits balance reason scope"),
    ), {"kind": Field("text", "the origin of the credits", "purchase"),
        "amount_cents": Field("money", "the price of the pack", 999)}),
    Family("top_up", "Automatic top-ups", "", (
        Kind("settings_written", "the settings were changed",
             "is_enabled threshold pack monthly_cap_cents currency"),
        Kind("completed", "the credits were bought",
             "top_up_id pack purchase_id amount_cents currency reason"),
        Kind("failed", "nothing was bought",
             "top_up_id pack purchase_id amount_cents currency reason failures? again_at?"),
        Kind("capped", "one more would exceed the month's limit",
             "top_up_id pack purchase_id amount_cents currency reason until spent_cents cap_cents"),
        Kind("stopped", "the third failure, a payment was disputed, or a purchase canceled by its"
             " buyer: top-ups stop until the settings are saved again",
             "top_up_id pack purchase_id amount_cents currency reason failures"),
    ), {"top_up_id": Field("id", "the top-up; null: stopped without failures", "top" + TAIL, True),
        "purchase_id": Field("id", "its purchase, if one was made", "pur" + TAIL, True),
        "amount_cents": Field("money", "the price of the pack", 999, True),
        "currency": Field("text", "ISO 4217", "EUR", True),
        "reason": Field("text", "why nothing was bought, or no more is", "CARD_DECLINED", True)}),
    Family("trial", "Trials of credits", "trial_id credits expires_at", (
        Kind("started", "the account took its trial"),
        Kind("expired", "it ended; its unspent credits expired", "expired"),
        Kind("converted", "a paid plan ended it; its credits stay until their date"),
    )),
    Family("purchase", "Purchases", "purchase_id credits", (
        Kind("created", "a pack was ordered", "pack amount_cents currency"),
        Kind("failed", "it ended unpaid", "pack amount_cents currency code"),
        Kind("expired", "nobody paid it in time", "pack amount_cents currency code"),
        Kind("canceled", "its buyer canceled it", "pack amount_cents currency code"),
        Kind("refunded", "a refund or dispute left nothing of what was paid for it"),
    ), {"amount_cents": Field("money", "the price of the pack", 999),
        "code": Field("text", "the code of the error", "CARD_DECLINED", True)}),
    Family("payment", "Payments", "payment_id invoice_id amount_cents currency", (
        Kind("succeeded", "it was paid", "failure_code"),
        Kind("processing", "the bank is processing it", "failure_code"),
        Kind("failed", "a try was declined; another one may follow", "failure_code attempt_id"),
        Kind("canceled", "it was canceled unpaid", "failure_code"),
        Kind("submitted", "the payer reports a manual payment; an operator decides",
             "reference"),
        Kind("awaits_approval", "a manual payment still awaits approval", "reference"),
        Kind("approved", "an operator confirmed the manual payment", "reference claimed_cents"),
        Kind("rejected", "an operator found no such manual payment", "reference reason"),
        Kind("recorded", "an operator recorded a manual payment", "reference"),
        Kind("refunded", "it was fully refunded", "reason"),
        Kind("kept", "nothing was owed: the money was added to the money balance",
             "invoice_status"),
    ), {"amount_cents": Field("money", "the amount received; before that, the amount due", 5831)}),
    Family("payment_method", "Saved cards and accounts",
           "payment_method_id kind brand last4", (
        Kind("added", "it was saved"),
        Kind("updated", "its details changed, or it was saved again"),
        Kind("chosen", "it is the new default"),
        Kind("backup_chosen", "it became the backup, charged if the default is refused for good"),
        Kind("backup_ended", "it is no longer the backup"),
        Kind("barred", "its bank forbids further charges, or a payment with it was disputed as"
             " fraud: it is not tried again"),
        Kind("removed", "it was detached"),
        Kind("expiring", "it expires before the next renewal: 30 days ahead, once per expiry",
             "exp_month exp_year subscription_id plan renews_at price_cents currency"),
    ), {"kind": Field("text", "`card`, or another kind", "card")}),
    Family("invoice", "Invoices", "invoice_id total_cents currency", (
        Kind("finalized", "it got its number, and is due: not sent for one that is paid first, such"
             " as a first invoice, a change, or a pack"),
        Kind("partly_paid", "a payment covered only part of it", "received_cents"),
        Kind("paid", "nothing is left to pay, by money or by a credit note; one that is paid first"
             " gets its number with it"),
        Kind("credited", "a credit note credited part of it: `credited_cents` of it are no longer"
             " owed, `balance_cents` went to the money balance, the rest went back to its payer",
             "amount_cents amount_minor credited_cents balance_cents reason"),
        Kind("voided", "it was voided, or is a draft that will never be paid", "reason"),
        Kind("uncollectible", "what is left of it was written off as uncollectible",
             "remaining_cents"),
    ), {"remaining_cents": Field("money", "what is left to pay", 1400),
        "credited_cents": Field("money", "the amount taken off what was owed", 900),
        "balance_cents": Field("money", "the amount added to the money balance", 4931)}),
    Family("refund", "Refunds",
           "refund_id payment_id invoice_id amount_cents currency reason method", (
        Kind("created", "a refund was requested"),
        Kind("succeeded", "the payer has the money, or it is on the money balance"),
        Kind("failed", "it failed, or the bank returned it later: `balance_cents` of it stay on the"
             " money balance", "failure balance_cents"),
    ), {"method": Field("text", "the way back: `provider`, `outside`, or `balance`, where it stays"
                        " on the money balance", "provider")}),
    Family("dispute", "Disputes", "dispute_id payment_id invoice_id amount_cents loss_cents"
           " currency reason stripe_status evidence_due_at", (
        Kind("opened", "the payer's bank inquires about a payment, or withdraws it"),
        Kind("escalated", "an inquiry became a dispute: the money is withdrawn"),
        Kind("evidence_due", "the evidence is due soon and was not given yet: sent three days"
             " and one day ahead"),
        Kind("won", "the money was returned, `balance_cents` of it stay on the money balance; if"
             " the dispute had been lost, the payment is no longer `refunded`", "balance_cents"),
        Kind("lost", "the bank keeps the money"),
        Kind("returned", "the bank returned a part of a lost dispute (`returned_cents`): it covered"
             " your loss first, `balance_cents` stay on the money balance",
             "returned_cents balance_cents"),
        Kind("closed", "it ended without a verdict, or is not booked here: `stripe_status` says"
             " how", "balance_cents"),
    ), {
        "reason": Field("text", "the bank's reason", "fraudulent"),
        "stripe_status": Field("text", "Stripe's status of it", "needs_response"),
        "returned_cents": Field("money", "the part that the bank returned", 333),
    }),
    Family("dunning", "Dunning of unpaid invoices", "dunning_case_id invoice_id", (
        Kind("opened", "an invoice could not be collected: dunning begins"),
        Kind("attempt_failed", "a try failed", "slot reason pay_url?"),
        Kind("paused", "an operator paused it", "reason?"),
        Kind("resumed", "an operator resumed it", "reason?"),
        Kind("extended", "its remaining tries and its end were postponed", "days reason?"),
        Kind("pursued", "it continues after the subscription's end"),
        Kind("recovered", "the invoice was paid while its case was open", "reason"),
        Kind("exhausted", "the last try failed, or an operator gave it up", "reason"),
        Kind("forgiven", "an operator forgave the rest", "reason"),
        Kind("canceled", "the invoice is no longer owed", "reason"),
    ), {"reason": Field("text", "why; `recovered`: how it was paid; `exhausted`: the final action,"
                        " or the words of the operator who gave it up", "insufficient_funds")}),
    Family("subscription", "Subscriptions",
           "subscription_id plan status current_period_end cancel_reason?", (
        Kind("created", "a plan was ordered", _SOLD),
        Kind("activated",
             "its first payment or an overdue one arrived; a trial is `renewed`",
             f"before {_SOLD}"),
        Kind("renewed", "a new period began", f"period_start {_SOLD}"),
        Kind("past_due", "a charge failed and will be retried"),
        Kind("unpaid", "all tries failed: nothing is charged until overdue invoices are paid"),
        Kind("canceled", "it ended", "reason?"),
        Kind("rest_refunded", "it ended with a refund: part of the unused money goes back to its"
             " payer; the rest was added to the money balance or paid what was owed. Again, with"
             " its own sums, for money that was under way",
             "credited_cents refunded_cents balance_cents currency"),
        Kind("incomplete_expired", "its first payment never arrived"),
        Kind("cancel_scheduled", "it will end with its period"),
        Kind("end_scheduled", "it will end at a date", "cancel_at"),
        Kind("reactivated", "the scheduled end was revoked"),
        Kind("trial_ending", "its trial ends soon, 7 and 3 days ahead unless its plan says"
             " otherwise: what a period costs then", _NEXT),
        Kind("renewal_upcoming", "it renews soon, 30 and 7 days before the end of a period of over"
             " 180 days unless its plan says otherwise: what the next one costs", _NEXT),
        Kind("paused", "it was paused: no period runs", "reason"),
        Kind("restarted", "it started again after a pause; or its first payment came after its"
             " period, and with `activated` the one that runs began", _SOLD),
        Kind("extended", "an operator gave it more time", "days reason"),
        Kind("card_chosen", "its card was chosen"),
        Kind("change_begun", "a change awaits its payment", "kind wanted amount_cents currency"),
        Kind("change_scheduled", "a change will take effect at the end of the period",
             "kind wanted currency"),
        Kind("change_dropped", "a pending change was dropped", "kind reason"),
        Kind("plan_changed", "its plan, interval or number of seats changed",
             "interval quantity add_ons?"),
        Kind("add_ons_chosen", "its add-ons changed", "add_ons"),
        Kind("price_changes", "notice that its price will change",
             "of_plan price_cents_before price_cents minimum_cents_before minimum_cents currency"
             " effective_at how_to_cancel reason"),
        Kind("price_changed", "the announced price is in effect", "price_cents currency"),
        Kind("coupon_redeemed", "a coupon now reduces its invoices", "code"),
        Kind("coupon_removed", "its coupon was removed", "code"),
    ), {"kind": Field("text", "plan, add_ons, pause, price or resume", "plan"),
        "amount_cents": Field("money", "the amount to pay for it", 2100),
        "credited_cents": Field("money", "the unused money, credited by credit notes", 7731)}),
    Family("usage", "Usage", "", (
        Kind("recorded", "a use was recorded; only with `BILLING_PUBLISH_USAGE=true`",
             "account_id billing_id event_id user_id organization_id product_id service_type"
             " feature_type meter usage_amount total_amount currency billing_method billing_status"
             " occurred_at"),
        Kind("settled", "a deferred or failed use was paid",
             "billing_id billing_method billing_status"),
        Kind("retried", "payment of an unpaid use is retried",
             "billing_id billing_method billing_status"),
        Kind("failed", "payment of a single use failed",
             "billing_id billing_method billing_status"),
        Kind("unpaid", "uses have been unpaid for a week; sent once", "uses total currency since"),
        Kind("voided", "an operator voided a use",
             "billing_id correction_id credits balance_cents credited_cents currency reason"),
        Kind("threshold_reached", "use reached a threshold of a plan's limit or of a quota, once"
             " per window",
             "account_id meter subject owner threshold_percent limit used window_start"),
        Kind("budget_reached", "use reached a threshold of a budget, once per window",
             "account_id meter subject owner threshold_percent limit used window_start"),
    ), {"currency": Field("text", "ISO 4217, or CREDIT", "EUR")}),
    Family("balance", "The money balance", "", (
        Kind("adjusted", "an operator corrected it", "adjustment_id amount_cents currency reason"),
    )),
    Family("tax_id", "VAT ids", "account_id vat_id", (
        Kind("given", "the account set a VAT id; its register is queried"),
        Kind("proven", "the register confirmed it", "proof"),
        Kind("refused", "the register does not know it: tax is charged", "proof"),
        Kind("removed", "the account removed its VAT id"),
    )),
    Family("migration", "Migration requests", "migration_request_id environment", (
        Kind("requested", "the account asked to be moved: an operator is to act"),
        Kind("handled", "an operator has acted on the request"),
    ), {"migration_request_id": Field("id", "the request", "mig" + TAIL),
        "environment": Field("text", "where to: `sandbox` or `production`", "production")}),
)  # fmt: skip


def fields_of(family: Family, kind: Kind) -> Iterator[tuple[str, Field, bool]]:
    """Yield each field's name, the field, and True if every event of the type has it."""
    for written in f"{family.fields} {kind.fields}".split():
        name = written.removesuffix("?")
        yield name, family.own.get(name) or FIELDS[name], name == written


KINDS: Final = {
    f"{PREFIX}{family.name}.{kind.name}": {
        name: (field, always) for name, field, always in fields_of(family, kind)
    }
    for family in FAMILIES
    for kind in family.kinds
}
"""By full type: each field, and True if every event of the type has it."""

"""Every type of published event: when it is told, and its fields.

Fields are names of `fields.FIELDS`; a family may say what one of its own means. `name?` is not in
every event of the type. After each test of the suite the outbox is held to this list.
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
    """Beside those that every event of its family has."""


class Family(NamedTuple):
    """Types about one noun, with the fields that all of them have."""

    name: str
    title: str
    fields: str
    kinds: tuple[Kind, ...]
    own: Mapping[str, Field] = {}
    """Fields whose meaning is the family's own."""


FAMILIES: Final = (
    Family("credits", "Credits", "", (
        Kind("purchased", "a purchase was paid, and its credits were granted",
             "purchase_id pack credits amount_cents currency"),
        Kind("low", "the balance fell below the threshold, once per crossing",
             "account_id balance threshold"),
        Kind("empty", "nothing is left, once per crossing; also between the credits of two cycles",
             "account_id"),
        Kind("expiring", "credits of a lot end soon (`BILLING_EXPIRY_NOTICE_DAYS`), once per lot",
             "account_id lot_id kind credits expires_at"),
        Kind("expired", "credits of a lot ended unspent",
             "account_id lot_id credits balance reason"),
        Kind("rolled_over", "credits of a plan were left at the end of their cycle and live on",
             "account_id lot_id credits expires_at"),
        Kind("hold_expired", "a hold ended that was neither captured nor released",
             "account_id hold_id credits"),
        Kind("adjusted", "an operator corrected the credits",
             "adjustment_id credits balance reason scope"),
    ), {"kind": Field("text", "where the credits came from", "purchase"),
        "amount_cents": Field("money", "the price of the pack", 999)}),
    Family("top_up", "Automatic top-ups", "", (
        Kind("settings_written", "what is bought without being asked was set",
             "is_enabled threshold pack monthly_cap_cents"),
        Kind("completed", "the credits were bought",
             "top_up_id pack purchase_id amount_cents currency reason"),
        Kind("failed", "nothing was bought",
             "top_up_id pack purchase_id amount_cents currency reason failures? again_at?"),
        Kind("capped", "one more would cost more than the month's limit",
             "top_up_id pack purchase_id amount_cents currency reason until spent_cents cap_cents"),
        Kind("stopped", "the third failure: nothing more is bought until it is set again",
             "top_up_id pack purchase_id amount_cents currency reason failures"),
    ), {"purchase_id": Field("id", "its purchase, where one was made", "pur" + TAIL, True),
        "amount_cents": Field("money", "the price of the pack", 999, True),
        "currency": Field("text", "ISO 4217", "EUR", True),
        "reason": Field("text", "why nothing was bought", "CARD_DECLINED", True)}),
    Family("trial", "Trials of credits", "trial_id credits expires_at", (
        Kind("started", "the account took its trial"),
        Kind("expired", "it ended; its unspent credits expired", "expired"),
        Kind("converted", "a paid plan ended it; its credits stay until their date"),
    )),
    Family("purchase", "Purchases", "purchase_id credits", (
        Kind("created", "a pack was ordered", "pack amount_cents currency"),
        Kind("failed", "it ended unpaid", "pack amount_cents currency code"),
        Kind("expired", "nobody paid it in time", "pack amount_cents currency code"),
        Kind("refunded", "all its money went back"),
    ), {"amount_cents": Field("money", "the price of the pack", 999),
        "code": Field("text", "the code of the error", "CARD_DECLINED", True)}),
    Family("payment", "Payments", "payment_id invoice_id amount_cents currency", (
        Kind("succeeded", "the money is here", "failure_code"),
        Kind("processing", "the bank decides on it", "failure_code"),
        Kind("failed", "a try was declined; the payment may go on with another", "failure_code"),
        Kind("canceled", "it was called back unpaid", "failure_code"),
        Kind("submitted", "its payer says that it was sent by hand; an operator decides",
             "reference"),
        Kind("awaits_approval", "a payment by hand still awaits the operators", "reference"),
        Kind("approved", "an operator found it to be there", "reference claimed_cents"),
        Kind("rejected", "an operator found that it is not there", "reference reason"),
        Kind("recorded", "an operator noted money that came by hand", "reference"),
        Kind("refunded", "all of it went back", "reason"),
        Kind("kept", "it came for nothing that is owed: it is on the money balance",
             "invoice_status"),
    ), {"amount_cents": Field("money", "what arrived; before that, what is asked for", 5831)}),
    Family("payment_method", "Saved cards and accounts",
           "payment_method_id kind brand last4", (
        Kind("added", "it was saved"),
        Kind("updated", "its details changed, or it was given again"),
        Kind("chosen", "it is the default now"),
        Kind("backup_chosen", "it is charged where the default is refused for good"),
        Kind("backup_ended", "it is the backup no more"),
        Kind("removed", "it was detached"),
        Kind("expiring", "it ends before the next renewal: 30 days ahead, once per expiry",
             "exp_month exp_year subscription_id plan renews_at price_cents currency"),
    ), {"kind": Field("text", "card, or what else it is", "card")}),
    Family("invoice", "Invoices", "invoice_id total_cents currency", (
        Kind("finalized", "it has its number, and is owed"),
        Kind("partly_paid", "money came that does not cover it", "received_cents"),
        Kind("paid", "nothing is owed of it"),
        Kind("credited", "a credit note took back part of it", "amount_minor reason"),
        Kind("voided", "it is not owed any more", "reason"),
        Kind("uncollectible", "nobody collects it any more"),
    )),
    Family("refund", "Refunds",
           "refund_id payment_id invoice_id amount_cents currency reason", (
        Kind("created", "money is to go back"),
        Kind("succeeded", "it is back with its payer"),
        Kind("failed", "it could not go back, or came back from the bank later: `balance_cents` of"
             " it are on the money balance", "failure balance_cents"),
    )),
    Family("dispute", "Disputes", "dispute_id payment_id invoice_id amount_cents loss_cents"
           " currency reason status evidence_due_at", (
        Kind("opened", "the payer's bank asks about a payment, or takes it back"),
        Kind("escalated", "an inquiry became a dispute: the money is away"),
        Kind("evidence_due", "the evidence is due soon: three days and one day ahead"),
        Kind("won", "the money came back, be it after it was lost"),
        Kind("lost", "the bank keeps the money"),
        Kind("closed", "it ended without a verdict, or is booked by nobody: `status` says how"),
    ), {
        "reason": Field("text", "the bank's word on why", "fraudulent"),
        "status": Field("text", "the provider's word on where it stands", "needs_response"),
    }),
    Family("dunning", "Recovery of unpaid invoices", "dunning_case_id invoice_id", (
        Kind("opened", "an invoice could not be collected: its recovery begins"),
        Kind("attempt_failed", "a try brought no money", "slot reason pay_url?"),
        Kind("paused", "an operator paused it", "reason?"),
        Kind("resumed", "it goes on", "reason?"),
        Kind("extended", "its tries and its end come later", "days reason?"),
        Kind("pursued", "it goes on after the subscription's end"),
        Kind("recovered", "the invoice is paid while its case goes on", "reason"),
        Kind("exhausted", "the last try failed: the final action was taken", "reason"),
        Kind("forgiven", "an operator gave up the rest", "reason"),
        Kind("canceled", "it is not owed any more", "reason"),
    ), {"reason": Field("text", "why; of `recovered` how it was paid, of `exhausted` the action",
                        "insufficient_funds")}),
    Family("subscription", "Subscriptions",
           "subscription_id plan status current_period_end cancel_reason?", (
        Kind("created", "a plan was ordered"),
        Kind("activated",
             "the first payment came, or what was overdue is paid; a trial is `renewed`", "before"),
        Kind("renewed", "a new period began", "period_start"),
        Kind("past_due", "a charge failed, and is tried again"),
        Kind("unpaid", "the tries are used up: nothing is charged until what is overdue is paid"),
        Kind("canceled", "it ended", "reason?"),
        Kind("rest_refunded", "it ended with a refund: so much of what was paid and not used goes"
             " back to its payer; the rest is on the money balance, or has paid what was owed",
             "credited_cents refunded_cents balance_cents currency"),
        Kind("incomplete_expired", "its first payment never came"),
        Kind("cancel_scheduled", "it ends with its period"),
        Kind("end_scheduled", "it ends at a date", "cancel_at"),
        Kind("reactivated", "the scheduled end was taken back"),
        Kind("paused", "no period runs", "reason"),
        Kind("restarted", "it began anew after a pause"),
        Kind("extended", "an operator gave more time", "days reason"),
        Kind("card_chosen", "the card that it is charged to was chosen"),
        Kind("change_begun", "a change waits for its payment", "kind amount_cents"),
        Kind("change_scheduled", "a change comes with the end of the period",
             "kind interval? quantity? add_ons? price_cents?"),
        Kind("change_dropped", "a change that waited does not come", "kind reason"),
        Kind("plan_changed", "it has another plan, interval or number of seats",
             "interval quantity add_ons?"),
        Kind("add_ons_chosen", "its add-ons are others", "add_ons"),
        Kind("price_changes", "its price will be another one: the notice",
             "price_cents_before price_cents minimum_cents_before minimum_cents currency"
             " effective_at how_to_cancel reason"),
        Kind("price_changed", "that price holds", "price_cents"),
        Kind("coupon_redeemed", "a coupon is taken off its invoices", "code"),
        Kind("coupon_removed", "it is not any more", "code"),
    ), {"kind": Field("text", "plan, add_ons, pause, price or resume", "plan"),
        "amount_cents": Field("money", "what is to be paid for it", 2100),
        "credited_cents": Field("money", "what was paid and not used, by credit notes", 7731)}),
    Family("usage", "Usage", "", (
        Kind("recorded", "a use was recorded; only with `BILLING_PUBLISH_USAGE=true`",
             "account_id billing_id event_id user_id organization_id product_id service_type"
             " feature_type meter usage_amount total_amount currency billing_method billing_status"
             " occurred_at"),
        Kind("settled", "a use that waited was paid", "billing_id billing_method billing_status"),
        Kind("retried", "a use that was not paid is tried again",
             "billing_id billing_method billing_status"),
        Kind("failed", "a single use was not paid", "billing_id billing_method billing_status"),
        Kind("unpaid", "uses have been unpaid for a week, once", "uses total currency since"),
        Kind("voided", "an operator took a use back",
             "billing_id correction_id credits balance_cents credited_cents currency reason"),
        Kind("threshold_reached", "use passed a threshold of a plan's limit or of a quota, once per"
             " window", "account_id meter subject owner threshold_percent limit used window_start"),
        Kind("budget_reached", "use passed a threshold of a budget, once per window",
             "account_id meter subject owner threshold_percent limit used window_start"),
    ), {"currency": Field("text", "ISO 4217, or CREDIT", "EUR")}),
    Family("balance", "The money balance", "", (
        Kind("adjusted", "an operator corrected it", "adjustment_id amount_cents currency reason"),
    )),
    Family("tax_id", "VAT ids", "account_id vat_id", (
        Kind("given", "the account has a VAT id; its register is asked"),
        Kind("proven", "the register knows it", "proof"),
        Kind("refused", "the register does not know it: tax is charged", "proof"),
        Kind("removed", "the account has none any more"),
    )),
)  # fmt: skip


def fields_of(family: Family, kind: Kind) -> Iterator[tuple[str, Field, bool]]:
    """Name, field, and True if it is in every event of the type."""
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
"""By the whole type: each field, and True if every event of the type has it."""

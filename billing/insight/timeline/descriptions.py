"""Sentences for what has happened and why; pure functions of the rows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from billing.core.money import show_money
from billing.insight.timeline.schemas import Cause
from billing.platform.provider_inbox.rules import ASKED_FOR, AT_ONCE

# The sentence of an audit row, by its action; `{money}` and other names come from its detail. For
# an action that is not here the name is shown: `payment.approved` is "payment approved". Behind an
# action may be its detail's `method`.
_CHANGES: Final[dict[str, str]] = {
    "account.created": "the account was made",
    "account.dunning_paused": "all recovery was paused, that to come too: {reason}",
    "account.dunning_resumed": "the recovery of what is owed goes on",
    "account.changed": "the account was changed: {fields}",
    "clock.aimed": "the clock was sent to {target}",
    "credits.adjusted": "an operator corrected the credits by {credits}: {reason}",
    "balance.adjusted": "an operator changed the money balance by {money}: {reason}",
    "credits.overdraft_set": "forced charges may leave {overdraft} credits owed: {reason}",
    "dispute.closed": "the bank's question about {money} is closed",
    "dispute.escalated": "the payer's bank has taken {money} back: {reason}",
    "dispute.evidence_due": "the answer to a dispute of {money} is due on {evidence_due_at}",
    "dispute.lost": "a dispute of {money} was lost",
    "dispute.opened": "the payer's bank asks {money} back: {reason}",
    "dispute.returned": "the bank gave back {returned_cents} of a lost dispute, in minor units",
    "dispute.won": "a dispute of {money} was won: the money is here again",
    "dunning.attempt_failed": "a try brought no money: {reason}",
    "dunning.canceled": "recovery ended, for nothing is owed any more: {reason}",
    "dunning.exhausted": "all tries failed: {reason}",
    "dunning.extended": "recovery was extended by {days} days",
    "dunning.forgiven": "the debt was forgiven: {reason}",
    "dunning.opened": "recovery of an unpaid invoice began",
    "dunning.pursued": "the subscription has ended: a last term to pay what it owes began",
    "dunning.recovered": "the overdue invoice was paid: {reason}",
    "credits.low_balance_set": "the balance below which the account is told was set",
    "invoice.credited": "{money} was taken back by a credit note: {reason}",
    "invoice.finalized": "an invoice of {money} was issued",
    "invoice.paid": "the invoice of {money} was paid",
    "invoice.uncollectible": "the invoice of {money} was given up as uncollectible",
    "invoice.voided": "an invoice of {money} was voided: {reason}",
    "matter.halted": "the workflow halted",
    "matter.resumed": "the workflow goes on",
    "payment.approved": "{money} sent by hand were found to be there",
    "payment.awaits_approval": "{money} sent by hand still await an operator's decision",
    "payment.canceled": "the payment of {money} was canceled",
    "payment.failed": "a payment of {money} failed: {failure_code}",
    "payment.kept": "{money} came for nothing that is owed: it is on the money balance",
    "payment.processing": "the bank is processing {money}",
    "payment.refunded": "all {money} was refunded",
    "payment.rejected": "{money} sent by hand were not there: {reason}",
    "payment.succeeded": "{money} was paid",
    "payment_method.expiring": "the card ending in {last4} ends before {plan} is charged to it",
    "purchase.canceled": "the purchase of {credits} credits was canceled by its buyer",
    "purchase.completed": "{credits} credits were bought for {money}",
    "purchase.created": "{credits} credits were ordered for {money}",
    "purchase.expired": "the purchase of {credits} credits expired unpaid",
    "purchase.failed": "the purchase of {credits} credits failed: {code}",
    "refund.created": "{money} is to go back to the payer: {reason}",
    "refund.created.balance": "{money} is to go to the money balance: {reason}",
    "refund.failed": "{money} could not go back: {failure}",
    "refund.succeeded": "{money} is back with the payer",
    "refund.succeeded.balance": "{money} is on the money balance",
    "subscription.add_ons_chosen": "the add-ons of {plan} were chosen",
    "subscription.activated": "{plan} is active",
    "subscription.cancel_scheduled": "{plan} will end on {current_period_end}",
    "subscription.canceled": "{plan} ended: {reason}",
    "subscription.change_scheduled": "a change of {plan} comes with the end of its period: {kind}",
    "subscription.card_chosen": "the card that {plan} is charged to was chosen",
    "subscription.change_begun": "a change of {plan} waits for its payment",
    "subscription.change_dropped": "a change of {plan} was given up: {reason}",
    "subscription.created": "{plan} was subscribed to ({status})",
    "subscription.end_scheduled": "{plan} will end on {cancel_at}",
    "subscription.extended": "{plan} was extended by {days} days: {reason}",
    "subscription.incomplete_expired": "{plan} was given up: its first payment never came",
    "subscription.past_due": "{plan} is past due",
    "subscription.paused": "{plan} was paused: {reason}",
    "subscription.price_changed": "{plan} costs {price_cents} from now on, in minor units",
    "subscription.price_changes": "the price of {of_plan} is another one from {effective_at} on",
    "subscription.reactivated": "the planned end of {plan} was taken back",
    "subscription.renewal_upcoming": "{plan} renews on {current_period_end}",
    "subscription.renewed": "{plan} was renewed until {current_period_end}",
    "subscription.rest_refunded": "of {credited_cents} that was paid and not used"
    " {refunded_cents} goes back to the payer, in minor units",
    "subscription.restarted": "{plan} began anew, until {current_period_end}",
    "subscription.steered": "an operator steered {plan} with others, {act}: {reason}",
    "subscription.threshold_set": "the billing threshold was set: {reason}",
    "subscription.trial_ending": "the trial of {plan} ends on {current_period_end}",
    "subscription.unpaid": "{plan} is unpaid: nothing is charged until what is overdue is paid",
    "top_up.capped": "no credits were bought: the month's limit is reached",
    "top_up.completed": "credits were bought by themselves",
    "top_up.failed": "credits could not be bought by themselves: {reason}",
    "top_up.settings_written": "what is bought by itself was set",
    "top_up.stopped": "no more credits are bought by themselves: {reason}",
    "usage.failed": "a single use was not paid",
    "usage.retried": "a single use is to be paid again",
    "usage.settled": "a single use was paid",
    "usage.unpaid": "{uses} uses for {total} {currency} have been unpaid for a week",
    "trial.converted": "the trial ended with a paid plan",
    "trial.expired": "the trial ended; {expired} credits expired",
    "trial.started": "the trial began with {credits} credits",
}
_STEPS: Final[dict[str, str]] = {
    "abandon": "gave up the first payment",
    "credit_tax": "gave back tax that was charged before the VAT id was proven",
    "check_vat": "looked the VAT id up in its register",
    "charge_use": "had a card pay an unpaid use",
    "check": "asked Stripe",
    "book": "booked what went back",
    "bill_early": "invoiced use that had reached the billing threshold",
    "close_commitment": "invoiced the rest of a commitment",
    "complete": "completed uses that an invoice bills",
    "cycle": "started a new cycle",
    "detach": "had Stripe forget a card",
    "pause": "paused the subscription",
    "end": "ended the subscription",
    "end_change": "gave up a change that was not paid",
    "end_unpaid": "ended the subscription, which stayed unpaid",
    "end_approval": "stopped waiting for an approval",
    "end_trial": "ended the trial of the plan",
    "expire": "let it expire",
    "fulfil": "granted the credits",
    "give_up": "took the final action",
    "expire_credits": "let credits expire",
    "bill": "invoiced late use of a subscription that had ended",
    "limits": "began or ended an agreed limit",
    "notice": "told that credits end soon",
    "open": "opened the payment",
    "refund": "gave money back",
    "remind": "reminded operators of a deadline",
    "retire": "called an open payment back",
    "renew": "renewed the subscription",
    "settle": "booked the money",
    "steer": "was steered with others",
    "settle_uses": "paid unpaid uses with credits",
    "setup": "followed a card being saved",
    "tell_trial_ending": "told that the trial of the plan ends",
    "tell_renewal": "told that the subscription renews",
    "tell_expiring": "told of a card that ends before it is charged",
    "tell_unpaid": "told of unpaid uses",
    "top_up": "bought the credits that were wanted, or saw why not",
}


_TRIGGERS: Final = {
    "asked": "somebody asked for a try at once",
    "new_card": "a new card was chosen",
    "provider_down": "Stripe could not be reached before",
}


def change_words(action: str, detail: Mapping[str, Any]) -> str:
    """Describe an audit row."""
    template = _CHANGES.get(f"{action}.{detail.get('method')}", _CHANGES.get(action))
    if template is None:
        return action.replace(".", " ").replace("_", " ")
    return template.format_map(_Facts(detail)).removesuffix(": ")


def change_money(detail: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Return the amount in an audit row, in minor units, and its currency."""
    currency = detail.get("currency")
    for name in ("amount_minor", "amount_cents", "total_cents"):
        if isinstance(currency, str) and isinstance(detail.get(name), int):
            return detail[name], currency
    return None, None


def step_words(name: str, result: str) -> str:
    """Describe the result of a step."""
    words = _STEPS.get(name, name.replace("_", " "))
    return f"{words}: {result}" if result else words


def attempt_words(
    status: str, amount_minor: int | None, currency: str, card: str | None, reason: str | None
) -> str:
    """Describe the result of a charge attempt; the previous release stored no amount of one that
    was skipped.
    """
    money = "" if amount_minor is None else f" of {show_money(amount_minor, currency)}"
    by = f" by {card}" if card else ""
    outcome = {
        "action": "the bank wants the payer to confirm",
        "pending": "not decided yet",
        "processing": "the bank is processing it",
        "skipped": "not tried",
        "unreached": "it never reached the card",
    }.get(status, status)
    return f"charge{money}{by}: {outcome}" + (f" ({reason})" if reason else "")


def step_cause(
    workflow_id: str | None,
    due_at: datetime | None,
    *,
    event: tuple[str, str, int] | None = None,
    trigger: str | None = None,
) -> Cause:
    """Return the cause of a step: an event, a request, a new card, or its due time.

    `event` is the provider's event with its type and deliveries, `trigger` one of _TRIGGERS.
    """
    if event is not None:
        event_id, event_type, deliveries = event
        times = f", delivered {deliveries} times" if deliveries > 1 else ""
        words = f"Stripe told of {event_type}{times}"
        return Cause(
            words="an operator wanted to know" if event_type == ASKED_FOR else words,
            workflow_id=workflow_id,
            stripe_event_id=event_id,
        )
    planned = due_at if due_at is not None and due_at > AT_ONCE else None
    words = _TRIGGERS.get(trigger or "") or ("it was due" if planned else "it was next")
    return Cause(words=words, workflow_id=workflow_id, due_at=planned)


def role_of(actor: str) -> str:
    """Return the role of a caller without its name; a workflow has no name to hide."""
    role, _, name = actor.partition(":")
    return actor if role == "workflow" or not name else role


def change_cause(actor: str, correlation_id: str | None) -> Cause:
    """Return the author of a change: a caller, or a step of a workflow."""
    _, found, workflow_id = actor.partition("workflow:")
    if found:
        return Cause(
            words=f"a step of {workflow_id}",
            actor=actor,
            workflow_id=workflow_id,
            correlation_id=correlation_id,
        )
    words = "the service itself" if actor == "system" else f"asked for by {actor}"
    return Cause(words=words, actor=actor, correlation_id=correlation_id)


class _Facts(dict[str, str]):
    """The detail of an audit row as text; missing values are left out."""

    def __init__(self, detail: Mapping[str, Any]) -> None:
        super().__init__({name: _word(value) for name, value in detail.items()})
        amount_minor, currency = change_money(detail)
        if amount_minor is not None and currency is not None:
            self["money"] = show_money(amount_minor, currency)

    def __missing__(self, name: str) -> str:
        return ""


def _word(value: Any) -> str:
    """Return a value for people: instants as dates, lists with commas."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, str) and value[:1].isdigit() and "T" in value:
        try:
            return f"{datetime.fromisoformat(value):%-d %b %Y %H:%M} UTC"
        except ValueError:
            return value
    return "" if value is None else str(value)

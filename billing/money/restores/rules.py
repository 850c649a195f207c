"""Rules for what a restored database does about a PaymentIntent of the provider. Pure."""

from typing import Any

from billing.core.currencies import from_provider
from billing.core.money import show_money
from billing.matters.kinds import PURCHASE
from billing.money.disputes.rules import state_of
from billing.money.refunds.rules import Taken
from billing.money.restores.schemas import FoundIntent, Known, Verdict
from billing.platform.provider_inbox.schemas import ProviderEvent


def decide(found: FoundIntent, known: Known) -> Verdict:
    """Return the verdict: lose no money, take none twice, leave no orphaned intent open."""
    kind, is_over = found.outcome.kind, found.outcome.is_over
    if "payment" not in found.metadata or "account" not in found.metadata:
        return "foreign"
    if known.has_payment and known.intent_id == found.intent_id:
        return "known"
    if is_over:
        return "over"
    if known.has_payment and known.intent_id is None:
        return "bound"
    if known.is_kept:
        return "kept_before"
    is_owed = known.is_owed and not known.has_payment
    # Money pays its invoice even if another payment collects it, which would charge it again.
    if is_owed and (kind == "succeeded" or not known.is_collected):
        return "remade"
    if kind == "processing":
        return "under_way"
    if not known.has_account:
        # It may be that of another installation on the same provider account: canceled, it would
        # fail a payment that is awaited there.
        return "nobodys" if kind == "succeeded" else "left_open"
    return "kept" if kind == "succeeded" else "called_back"


def left_minor(received_minor: int, taken: Taken) -> int:
    """Return what is left of a payment. A dispute has taken its part only while Stripe lacks
    the money: an inquiry, or one that was prevented without a refund, took none.
    """
    refunded = sum(one.amount_minor for one in taken.refunds if one.status != "failed")
    withdrawn = sum(
        one.amount_minor - one.returned_minor for one in taken.disputes if one.is_withdrawn
    )
    return received_minor - refunded - withdrawn


def undecided(taken: Taken) -> str | None:
    """Return a refund or dispute of a payment whose money may still come back, if there is one."""
    disputes = [
        one.dispute_id
        for one in taken.disputes
        if state_of(one.status, is_withdrawn=one.is_withdrawn) == "open"
        or (one.status == "won" and one.is_withdrawn)
    ]
    refunds = [one.refund_id for one in taken.refunds if one.status == "processing"]
    return next(iter(disputes + refunds), None)


def act_after(event: ProviderEvent, kept_minor: int, on_balance_minor: int) -> str | None:
    """Return what an operator must do after an event about money that a restore kept, of which so
    much is still on the money balance; None if nothing.
    """
    match event.type:
        case "charge.dispute.funds_withdrawn":
            return (
                "a bank has taken it back: take what is left of it off the balance, or the credits"
                f" that were given for it, and answer {event.object_id} at Stripe"
            )
        case "charge.dispute.funds_reinstated":
            return "a bank has returned it: put on the balance again what was taken off"
        case "refund.failed":
            return f"{event.object_id} failed: put on the balance again what was taken off"
        case "charge.refunded" if on_balance_minor > max(0, kept_minor - _refunded(event)):
            return (
                "it was refunded: take as much off the balance, or the credits that were given for"
                " it, unless that is done"
            )
    return None


def _refunded(event: ProviderEvent) -> int:
    """Return what was refunded of the charge of an event."""
    payload: dict[str, Any] = event.payload
    charge = payload["data"]["object"]
    return from_provider(int(charge["amount_refunded"]), charge["currency"].upper())


def is_pack(found: FoundIntent) -> bool:
    """Return True if the intent was to pay a pack."""
    return found.metadata.get("matter", "").startswith(f"{PURCHASE.name}/")


def describe(found: FoundIntent) -> str:
    """Describe the intent: `49.00 EUR, "Invoice inv_…", of subscription/sub_…`."""
    amount = show_money(found.amount_minor, found.currency)
    matter = found.metadata.get("matter", "nothing that is named")
    return f'{amount}, "{found.description}", of {matter}'

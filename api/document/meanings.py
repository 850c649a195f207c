"""The meaning of names that many schemas and routes share, in one place each.

A field or parameter that describes itself keeps its own words.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from api.document.field_meanings import FIELDS

_PARAMETERS: Final[Mapping[str, str]] = {
    "account": "Only this account, by our id or your own; without it all accounts, if they are few",
    "account_id": "The account, by our id or your own",
    "action": "Only entries of this action, such as `matter.resume_ordered`",
    "active_only": "True leaves out those that are closed",
    "actor": "Only what this caller did",
    "address_id": "The address",
    "archived": "True lists those older than 90 days, too",
    "billing_id": "The billing record of a use",
    "budget_id": "The budget",
    "change_id": "The change",
    "code": "The code of the coupon, in any letters",
    "credit_note_id": "The credit note",
    "cursor": "`next_cursor` of the page before; without it the list begins",
    "dunning_case_id": "The dunning case",
    "event_id": "The event, by its id at the provider",
    "family": "Only plans of this family",
    "feature": "The key of a feature or of a meter",
    "format": "The form of the report",
    "grain": "How long the time is that each row sums up",
    "group_by": "What each row sums up; `record`: a row for each use",
    "hold_id": "The hold",
    "Idempotency-Key": "Your own mark of this request: the same key with the same body gets the"
    " first answer again",
    "invoice_id": "The invoice",
    "is_test": "True: only test accounts; false: only real ones",
    "key": "The key by which the catalog and requests name it",
    "kind": "Only those of this kind",
    "limit": "How many rows at most",
    "meter": "The key of the meter",
    "migration_request_id": "The request",
    "model": "Only uses of this model",
    "moves_cursor": "`moves_cursor` of the answer before; without it the moves begin",
    "number": "Only the invoice with this number",
    "offset": "How many rows to pass over, from the beginning",
    "open_only": "False lists those that are spent or expired, too",
    "operation": "Only uses of this operation",
    "organization_id": "Only those of this organisation",
    "pack": "Only purchases of this pack, by its key",
    "package_id": "The pack, by its key or id",
    "page": "The number of the page, from 1",
    "payment_id": "The payment",
    "payment_method_id": "The saved payment method",
    "plan": "Only subscriptions to this plan, by its key",
    "platform": "Only accounts with a shop on this platform",
    "product_id": "Only uses of this product, by its key",
    "purchase_id": "The purchase",
    "q": "Only accounts with this in their external id, name or e-mail address",
    "quota_id": "The quota",
    "reconciliation_id": "The run",
    "service_type": "Only those of this kind of service",
    "setup_intent_id": "The saving of a card, by Stripe's id or ours",
    "source": "Only events that came this way: as a `webhook`, by a `poll` of the provider, or"
    " from an `operator`",
    "status": "Only those in this status",
    "Stripe-Signature": "Stripe's signature of the event",
    "subject": "Only entries about this object, by its id",
    "transaction_id": "The change of credits",
    "type": "Only events of this type, such as `evt.billing.credits.purchased`",
    "undecided": "True: only manual payments that nobody has decided on",
    "user_id": "Only those of this user",
    "workflow_id": "The matter, by the id of its workflow, such as `subscription/sub_…`",
}  # fmt: skip


def add(document: dict[str, Any]) -> None:
    """Describe the shared names of a document where they have no words of their own."""
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if name in FIELDS:
                field.setdefault("description", FIELDS[name])
    for parameter in _parameters(document):
        if parameter["name"] in _PARAMETERS:
            parameter.setdefault("description", _PARAMETERS[parameter["name"]])


def _parameters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        for operation in operations.values():
            yield from operation.get("parameters", ())

"""Samples for the tenant matrix: per route, a thing of an account and an example body.

One line per parameter that names an account's thing, one per write route with a body. A route
whose parameter or body is not here turns the matrix red.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import select

from billing.core import ids
from billing.core.clock import real_now
from billing.ledger.credits import service as credits
from billing.matters.tables import matters
from billing.money.addresses.tables import billing_addresses
from billing.money.migration_requests.tables import migration_requests
from billing.money.payment_methods.tables import payment_methods, setup_intents
from billing.money.purchases import service as purchases
from billing.money.purchases.schemas import NewPurchase
from billing.money.reconciliations import service as comparing
from billing.platform.provider_inbox.tables import stripe_webhook_events
from tests.integration.api.invoice_samples import INVOICE_BODIES, credited, owed, paying, recovering
from tests.integration.api.subscription_samples import change, subscription
from tests.integration.api.usage_samples import budget, quota, used
from tests.integration.api_app import Api
from tests.integration.broken_books import OF_CARDS, excuse
from tests.integration.credits import holding

Account = dict[str, Any]
Maker = Callable[[Api, Account], Awaitable[str]]
Named = Mapping[str, str]


async def purchase(api: Api, account: Account) -> str:
    """A purchase that waits for its payer; written as its route does, without its workflow."""
    purchase_id = ids.new()
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    async with api.database.tenant(account_id) as connection:
        await purchases.start(
            connection,
            account_id,
            NewPurchase(pack="small", flow="card"),
            purchase_id=purchase_id,
            settings=api.app.state.services.settings,
        )
    return ids.encode(ids.PURCHASE, purchase_id)


async def card(api: Api, account: Account, *, is_default: bool = False) -> str:
    """A saved card, as a row: how cards are saved is another test's story."""
    method_id, at = ids.new(), real_now()
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    excuse(account_id, OF_CARDS)
    async with api.database.operator() as connection:
        await connection.execute(
            payment_methods.insert().values(
                id=method_id,
                account_id=account_id,
                stripe_payment_method_id=f"pm_{uuid4().hex}",
                brand="visa",
                last4="4242",
                is_default=is_default,
                chosen_at=at,
                created_at=at,
            )
        )
    return ids.encode(ids.PAYMENT_METHOD, method_id)


async def setup(api: Api, account: Account) -> str:
    """A card that is being saved."""
    setup_id = ids.new()
    async with api.database.operator() as connection:
        await connection.execute(
            setup_intents.insert().values(
                id=setup_id,
                account_id=ids.decode(ids.ACCOUNT, account["id"]),
                stripe_setup_intent_id=f"seti_{uuid4().hex}",
                status="waiting",
                make_default=False,
                created_at=real_now(),
            )
        )
    return ids.encode(ids.SETUP_INTENT, setup_id)


async def address(api: Api, account: Account) -> str:
    """A billing address, as a row."""
    address_id, at = ids.new(), real_now()
    async with api.database.operator() as connection:
        await connection.execute(
            billing_addresses.insert().values(
                id=address_id,
                account_id=ids.decode(ids.ACCOUNT, account["id"]),
                line1="1 High Street",
                city="Bath",
                country="GB",
                created_at=at,
                updated_at=at,
            )
        )
    return ids.encode(ids.ADDRESS, address_id)


async def granted(api: Api, account: Account) -> str:
    """The ledger's entry of a grant."""
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    async with api.database.tenant(account_id) as connection:
        grant = await credits.grant(
            connection,
            account_id=account_id,
            amount=Decimal(5),
            kind="adjustment",
            key=f"matrix/{uuid4()}",
            is_paid=False,
            reason="a specimen",
        )
    return ids.encode(ids.TRANSACTION, grant.transaction_id)


async def matter(api: Api, account: Account) -> str:
    """The workflow of the subscription."""
    async with api.database.operator() as connection:
        found = await connection.scalar(
            select(matters.c.workflow_id).where(
                matters.c.account_id == ids.decode(ids.ACCOUNT, account["id"]),
                matters.c.kind == "subscription",
            )
        )
    return str(found)


async def told(api: Api, account: Account) -> str:
    """An event of Stripe that concerns the account."""
    event_id, at = ids.encode(ids.EVENT, ids.new()), real_now()
    async with api.database.operator() as connection:
        await connection.execute(
            stripe_webhook_events.insert().values(
                stripe_event_id=event_id,
                account_id=ids.decode(ids.ACCOUNT, account["id"]),
                workflow_id=await matter(api, account),
                type="payment_intent.succeeded",
                payload={},
                status="handled",
                created_at=at,
                received_at=at,
            )
        )
    return event_id


async def migration(api: Api, account: Account) -> str:
    """A migration request that waits for an operator."""
    request_id, account_id = ids.new(), ids.decode(ids.ACCOUNT, account["id"])
    async with api.database.tenant(account_id) as connection:
        await connection.execute(
            migration_requests.insert().values(
                id=request_id,
                account_id=account_id,
                environment="sandbox",
                notes="we try our shop there first",
                requested_by="shop-owner",
                created_at=real_now(),
            )
        )
    return ids.encode(ids.MIGRATION_REQUEST, request_id)


async def comparison(api: Api, _: Account) -> str:
    """A comparison with Stripe that has not begun to read; it is of no account."""
    run = comparing.new_run(ids.new())
    async with api.database.operator() as connection:
        await comparing.begin(connection, run)
    return run.name


async def itself(_: Api, account: Account) -> str:
    """The account."""
    return str(account["id"])


async def held(api: Api, account: Account) -> str:
    """A hold that waits for its capture, made by the subject of the callers' tokens."""
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    await granted(api, account)
    async with api.database.tenant(account_id) as connection:
        hold = await holding.hold(
            connection,
            account_id=account_id,
            amount=Decimal(1),
            key=f"matrix/{uuid4()}",
            reason="a specimen",
            expires_at=real_now() + timedelta(days=1),
            made_by="tester",
        )
    return ids.encode(ids.HOLD, hold.hold_id)


# A parameter in path, query or body that names a thing of one account: how to come by one.
MAKERS: Final[dict[str, Maker]] = {
    "account_id": itself,
    "purchase_id": purchase,
    "payment_method_id": card,
    "address_id": address,
    "new_default": card,
    "setup_intent_id": setup,
    "subscription_id": subscription,
    "change_id": change,
    "invoice_id": owed,
    "payment_id": paying,
    "dunning_case_id": recovering,
    "workflow_id": matter,
    "event_id": told,
    "transaction_id": granted,
    "billing_id": used,
    "quota_id": quota,
    "budget_id": budget,
    "hold_id": held,
    "credit_note_id": credited,
    "migration_request_id": migration,
    "reconciliation_id": comparison,
}

# Parameters that name what belongs to no account, with a name that exists.
SHARED: Final[dict[str, str]] = {
    "package_id": "small",
    "pack": "small",
    "feature": "api_calls",
    "code": "SAMPLE",
    "meter": "api_calls",
    "key": "basic",
    "product_id": "gpt-4",
    # Names of the caller's own people: any will do, but a member asks for itself.
    "user_id": "tester",
    "organization_id": "some-team",
    "session_id": "a-session",
    "q": "INV-000001",
    "request_id": "a-request",
}

# Ids in bodies that name nothing of ours, or are answered row by row, by operation.
FREE: Final[dict[str, frozenset[str]]] = {
    "record_usage": frozenset({"event_id"}),
    "record_usage_batch": frozenset({"event_id", "account_id", "hold_id"}),
    "check_quota": frozenset({"event_id"}),
    "write_tax": frozenset({"vat_id"}),
}

# A body for each operation that takes one, such that every id in it has to be looked up.
BODIES: Final[dict[str, Callable[[Named], Any]]] = INVOICE_BODIES | {
    "upsert_account": lambda _: {"external_id": "matrix-shop"},
    "create_purchase": lambda named: {
        "pack": "small",
        "payment_method": "saved_card",
        "payment_method_id": named["payment_method_id"],
    },
    "purchase_package": lambda named: {
        "payment_method": "saved_card",
        "payment_method_id": named["payment_method_id"],
    },
    "subscribe": lambda named: {
        "plan": "basic",
        "trial": False,
        "payment_method_id": named["payment_method_id"],
    },
    "cancel_subscription": lambda _: {"at": "now"},
    "pause_subscription": lambda _: {"at": "now"},
    "choose_card": lambda named: {"payment_method_id": named["payment_method_id"]},
    "create_setup_intent": lambda _: {},
    "open_portal": lambda _: {},
    "create_payment_method": lambda named: {"setup_intent_id": named["setup_intent_id"]},
    "change_payment_method": lambda _: {"label": "the blue one"},
    "choose_default_method": lambda _: {"confirm": "DEFAULT"},
    "create_address": lambda _: {"line1": "1 High Street", "city": "Bath", "country": "GB"},
    "change_address": lambda _: {"city": "Bristol"},
    "delete_payment_method": lambda named: {
        "confirm": "DELETE",
        "new_default": named["new_default"],
    },
    "pay_invoice": lambda named: {"payment_method_id": named["payment_method_id"]},
    "submit_manual_payment": lambda named: {
        "invoice_id": named["invoice_id"],
        "payment_method": "bank_transfer",
        "transaction_reference": "TRX-1",
    },
    "approve_payment": lambda _: {"amount_minor": 100},
    "reject_payment": lambda _: {"reason": "nothing came"},
    "dismiss_webhook_event": lambda _: {"reason": "of another system"},
    "pause_dunning": lambda _: {},
    "resume_dunning": lambda _: {},
    "pause_customer_dunning": lambda _: {"reason": "a bad hour"},
    "resume_customer_dunning": lambda _: {"reason": "a good hour"},
    "reconcile_billing": lambda _: {"acknowledge": True},
    "extend_dunning": lambda _: {"days": 1},
    "retry_dunning_now": lambda named: {"payment_method_id": named["payment_method_id"]},
    "forgive_dunning": lambda _: {"reason": "goodwill"},
    "advance_clock": lambda _: {"advance_days": 1},
    "create_coupon": lambda _: {"code": "SAMPLE", "name": "Sample", "percent": "10"},
    "redeem_coupon": lambda _: {"code": "SAMPLE"},
    "write_tax": lambda _: {"vat_id": "DE136695976"},
    "put_tax": lambda _: {"name": "USt", "rates": {"standard": "19"}},
    "put_tax_inclusion": lambda _: {"currencies": []},
    "put_exemption": lambda _: {"because": "certificate 4711"},
    "put_plan": lambda _: {"family": "app", "name": "Basic", "is_active": False},
    "put_credit_package": lambda _: {"name": "Basic", "credits": "1", "is_active": False},
    "create_hold": lambda _: {"amount": "0.01", "expires_in_seconds": 60},
    "capture_hold": lambda _: {"amount": "0.01"},
    "write_auto_top_up": lambda named: {
        "is_enabled": True,
        "threshold": "10",
        "pack": "small",
        "payment_method_id": named["payment_method_id"],
    },
    "adjust_credits": lambda named: {
        "account_id": named["account_id"],
        "amount": "1",
        "reason": "goodwill",
    },
    "adjust_money_balance": lambda _: {"amount_cents": 5, "reason": "a good customer"},
    "set_overdraft": lambda _: {"overdraft": "5", "reason": "a good customer"},
    "put_default_plan": lambda _: {"plan": "free"},
    "put_credit_cost": lambda _: {"cost": "1"},
    "put_payment_method_config": lambda _: {"kind": "card", "is_active": False},
    "put_meter": lambda _: {"name": "Basic", "unit": "piece", "is_active": False},
    "put_product": lambda _: {
        "name": "Basic",
        "meter": "api_calls",
        "service_type": "api_gateway",
        "is_active": False,
    },
    "put_price_override": lambda named: {
        "account_id": named["account_id"],
        "product": "gpt-4",
        "terms": {"unit_price": "0.001"},
    },
    "put_limit_override": lambda _: {"included": "5"},
    "put_contract": lambda _: {"prices": []},
    "put_quota": lambda named: {
        "account_id": named["account_id"],
        "feature_type": "document_uploads",
        "limit": "5",
    },
    "request_migration": lambda _: {
        "environment": "sandbox",
        "notes": "we try our shop there first",
    },
    "handle_migration_request": lambda _: {"comment": "moved on Monday"},
    "put_budget": lambda _: {"limit": "5"},
    "set_low_balance": lambda _: {"threshold": "10"},
    "move_subscribers": lambda _: {"reason": "prices of 2027"},
    "undo_price": lambda _: {
        "wrong_version": 1,
        "right_version": 1,
        "currency": "USD",
        "reason": "a point in the wrong place",
    },
    "steer_subscriptions": lambda named: {
        "act": "pause_dunning",
        "subscription_ids": [named["subscription_id"]],
        "account_ids": [named["account_id"]],
        "reason": "a bad hour",
    },
    "extend_subscription": lambda _: {"days": 7, "reason": "an outage"},
    "set_billing_threshold": lambda _: {"threshold_cents": 5000, "reason": "a new customer"},
    "change_subscription": lambda named: {
        "add_ons": [{"add_on": "ai-500"}],
        "payment_method_id": named["payment_method_id"],
    },
    "preview_change": lambda _: {"plan": "pro"},
    "resume_subscription": lambda named: {"payment_method_id": named["payment_method_id"]},
    "pay_overdue": lambda named: {
        "dry_run": True,
        "invoice_ids": [named["invoice_id"]],
        "payment_method_id": named["payment_method_id"],
    },
    "record_usage": lambda named: {
        "product_id": "gpt-4",
        "usage_amount": "1",
        "hold_id": named["hold_id"],
    },
    "record_usage_batch": lambda _: {
        "events": [{"feature_type": "impressions", "usage_amount": "1"}]
    },
    "calculate_cost": lambda named: {
        "product_id": "gpt-4",
        "usage_amount": "1000",
        "pricing_context": {"subscription_id": named["subscription_id"]},
    },
    "void_billing_record": lambda _: {"reason": "sent twice"},
    "process_billing": lambda named: {"billing_id": named["billing_id"]},
    "check_quota": lambda _: {"feature_type": "impressions", "requested_amount": "1"},
}

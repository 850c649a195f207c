"""Books what the provider knows and a restored database does not; all calls are repeatable."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids, keys
from billing.core.errors import BillingError, NotFound
from billing.core.money import show_money
from billing.money.invoices import balances
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods import card_setup
from billing.money.payment_methods import service as methods
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.rules import CardDetails
from billing.money.payments import event_commands
from billing.money.payments import service as payment_service
from billing.money.payments import store as payment_store
from billing.money.payments.schemas import LIVE
from billing.money.refunds.rules import Taken
from billing.money.refunds.tables import refunds
from billing.money.restores import rules
from billing.money.restores.schemas import FoundIntent, FoundObject, FoundPage, Known, Placed
from billing.platform.accounts import store as accounts
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.schemas import Waiting
from billing.platform.provider_inbox.webhooks import read


async def known_of(connection: AsyncConnection, found: FoundIntent) -> Known:
    """Find the rows that the metadata of an intent name."""
    account = await account_of(connection, found.metadata)
    payment_id = ids.parse(ids.PAYMENT, found.metadata.get("payment", ""))
    payment = await payment_store.find(connection, payment_id) if payment_id else None
    invoice = await _invoice(connection, found.metadata)
    kept = await balances.found(connection, found.intent_id)
    return Known(
        has_account=account is not None,
        has_payment=payment is not None,
        intent_id=payment.stripe_payment_intent_id if payment else None,
        is_owed=invoice is not None and invoice.takes_money,
        is_collected=invoice is not None
        and await payment_store.live(connection, invoice.id) is not None,
        is_kept=kept is not None,
    )


async def place(
    connection: AsyncConnection, found: FoundIntent, taken: Taken, at: datetime
) -> Placed:
    """Carry out the rules' verdict; what was `taken` of the intent's money is not with us."""
    verdict = rules.decide(found, await known_of(connection, found))
    account_id = await account_of(connection, found.metadata)
    words, kept_minor = f"{found.intent_id}: {rules.describe(found)}", 0
    match verdict:
        case "known" | "bound":
            await _ask(connection, found, at)
        case "remade":
            await _remake(connection, found)
            await _ask(connection, found, at)
        case "kept" if waits_for := rules.undecided(taken):
            verdict = "under_way"
            words = f"{words}: {waits_for} is not decided; run this again once it is"
        case "kept" if account_id is not None:
            kept_minor, done = await _keep(connection, account_id, found, taken)
            words = f"{words}: {done}"
        case "nobodys":
            account = found.metadata["account"]
            words = (
                f"{words}: {account} is not here; unless another installation has it, refund it"
                " at Stripe, or open the account anew"
            )
        case "left_open":
            account = found.metadata["account"]
            words = (
                f"{words}: {account} is not here; unless another installation has it, cancel it"
                " at Stripe"
            )
        case "called_back":  # the caller has tried to
            verdict, words = "left_open", f"{words}: the provider keeps it open; cancel it there"
        case "under_way":
            words = f"{words}: the provider has not decided; ask again before billing unpark"
        case "foreign" | "kept" | "kept_before" | "over":
            pass  # nothing is left to do
    return Placed(verdict=verdict, words=words, kept_minor=kept_minor)


async def keep_page(connection: AsyncConnection, found: FoundPage) -> bool:
    """Record the open page of a payment that waits for it; return False if none here does."""
    payment_id = ids.parse(ids.PAYMENT, found.metadata["payment"])
    payment = await payment_store.find(connection, payment_id) if payment_id else None
    if payment is not None and payment.status in LIVE and not payment.opened:
        payment = await payment_service.record_session(connection, payment, found.page)
    return payment is not None and payment.stripe_checkout_session_id == found.page.session_id


async def doubt_refunds(connection: AsyncConnection) -> int:
    """Have unrequested refunds looked for at the provider before they are made; return how many."""
    unmade = refunds.c.asked_at.is_(None) & (refunds.c.status == "pending")
    done = await connection.execute(
        refunds.update()
        .where(unmade, refunds.c.way == "provider")
        .values(asked_at=refunds.c.created_at)
    )
    return done.rowcount


async def keep_customer(connection: AsyncConnection, found: FoundObject) -> str | None:
    """Give an account its customer again; return a message if the account is not here."""
    account_id = await account_of(connection, found.metadata)
    if account_id is None:
        return (
            f"{found.object_id}: a customer of {found.metadata.get('account')}, which is not here"
        )
    await accounts.lock_customer(connection, account_id, found.object_id)
    return None


async def is_lost_setup(connection: AsyncConnection, found: FoundObject) -> bool:
    """True if a card was saved by a setup that is lost, for an account that exists."""
    setup_id = ids.parse(ids.SETUP_INTENT, found.metadata.get("setup", ""))
    if setup_id is None or await account_of(connection, found.metadata) is None:
        return False
    return not await card_setup.exists(connection, setup_id)


async def keep_card(connection: AsyncConnection, found: FoundObject, card: CardDetails) -> bool:
    """Save again a card that its owner had saved; return False if it is known already."""
    account_id = await account_of(connection, found.metadata)
    known = await method_store.ever_known(connection, card.stripe_payment_method_id)
    if account_id is None or known is not None:
        return False
    at = await clock.now(connection, account_id)
    await methods.save(connection, account_id, card, at, make_default=False)
    return True


async def set_aside(connection: AsyncConnection, waiting: Waiting) -> bool:
    """Ignore an event about money that a restore put on the money balance, or park it with what an
    operator must do; return False for other money.
    """
    event = read(waiting.payload)
    intent_id = event.intent_id or ""
    kept = await balances.found(connection, intent_id)
    if kept is None:
        return False
    on_balance = await balances.adjusted_for(connection, kept.account_id, intent_id)
    account = ids.encode(ids.ACCOUNT, kept.account_id)
    about = f"{intent_id}, which a restore put on the money balance of {account}"
    # The kept sum is without what had gone before; the instant of a test clock tells nothing.
    at = kept.at.replace(microsecond=0)
    is_counted = event.created_at is not None and event.created_at < at <= clock.real_now()
    act = rules.act_after(event, kept.amount_minor, on_balance)
    if act is not None and not is_counted:
        await inbox.park(connection, event.event_id, f"{about}: {act}; then dismiss this")
    else:
        await inbox.ignore_unmatched(connection, [event.event_id], about)
    return True


async def _keep(
    connection: AsyncConnection, account_id: UUID, found: FoundIntent, taken: Taken
) -> tuple[int, str]:
    """Put the money of a lost invoice on the money balance; return how much, and a message."""
    left_minor = rules.left_minor(found.outcome.received_minor, taken)
    if left_minor <= 0:
        return 0, "all of it went back already"
    try:
        await balances.adjust(
            connection, account_id,
            adjustment_id=balances.found_id(found.intent_id),
            amount_minor=left_minor, currency=found.currency,
            reason=f"paid by {found.intent_id}, which the restored database does not know",
            at=await clock.now(connection, account_id),
        )  # fmt: skip
    except BillingError as refused:
        return 0, f"cannot be kept ({refused.detail}); refund it at Stripe"
    amount = show_money(left_minor, found.currency)
    return left_minor, f"{amount} are on the money balance of {found.metadata['account']}"


async def _remake(connection: AsyncConnection, found: FoundIntent) -> None:
    """Recreate the payment of an unpaid invoice with its own id and its intent.

    An invoice has one payment that collects: beside another this one is canceled, and the status
    check that follows books its money.
    """
    invoice = await _invoice(connection, found.metadata)
    if invoice is None:
        raise NotFound("INVOICE_NOT_FOUND", "an invoice was there a moment ago")
    number = await payment_store.count(connection, invoice.id) + 1
    collector = await payment_store.live(connection, invoice.id)
    at = await clock.now(connection, invoice.account_id)
    await payment_store.add(
        connection,
        {
            "id": ids.decode(ids.PAYMENT, found.metadata["payment"]),
            "account_id": invoice.account_id,
            "invoice_id": invoice.id,
            "workflow_id": invoice.workflow_id,
            "flow": "card",
            "intent_key": keys.intent(invoice.id, number),
            "status": "canceled" if collector else "pending",
            "amount_minor": found.amount_minor,
            "currency": found.currency,
            "stripe_payment_intent_id": found.intent_id,
            "client_secret": found.outcome.client_secret,
            "created_at": at,
            "closed_at": at if collector else None,
        },
    )


async def _ask(connection: AsyncConnection, found: FoundIntent, at: datetime) -> None:
    """Record the intent of the payment, and order a status check of it."""
    payment = await payment_store.get(
        connection, ids.decode(ids.PAYMENT, found.metadata["payment"])
    )
    if payment.stripe_payment_intent_id is None:
        await payment_store.change(
            connection, payment.id,
            stripe_payment_intent_id=found.intent_id, client_secret=found.outcome.client_secret,
        )  # fmt: skip
    await event_commands.order_check(connection, payment.id, at)


async def _invoice(connection: AsyncConnection, metadata: dict[str, str]) -> Invoice | None:
    invoice_id = ids.parse(ids.INVOICE, metadata.get("invoice", ""))
    try:
        return await invoice_store.get(connection, invoice_id) if invoice_id else None
    except NotFound:
        return None


async def account_of(connection: AsyncConnection, metadata: dict[str, str]) -> UUID | None:
    """Return the account that the metadata of a provider object name, if it is here."""
    account_id = ids.parse(ids.ACCOUNT, metadata.get("account", ""))
    found = await accounts.find_by_id(connection, account_id) if account_id else None
    return found.id if found else None

"""The steps of an account itself: expire credits, save cards, detach removed cards."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.account_base import AccountBase, Did
from activities.customers import Customer, Customers
from activities.dependencies import Dependencies
from activities.tries import doubting_a_key, with_new_keys
from billing.core import ids, keys
from billing.core.clock import database_now
from billing.core.database_errors import is_busy
from billing.core.errors import Invalid, ProviderFailure, Unavailable
from billing.core.failpoints import failpoint
from billing.core.money import show_decimal
from billing.ledger.credits import expiry_notices
from billing.ledger.credits import service as credits
from billing.matters import commands
from billing.matters.agenda import Step
from billing.matters.kinds import ACCOUNT
from billing.matters.schemas import Matter
from billing.metering.limit_overrides import store as limits
from billing.metering.usage import unpaid
from billing.money.account_agenda.rules import AccountState
from billing.money.card_usage import unpaid_uses
from billing.money.invoice_requests import reverse_charge
from billing.money.invoices import usage_lines
from billing.money.payment_methods import card_setup, following, portal
from billing.money.payment_methods import service as methods
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.card_setup import Cause
from billing.money.payment_methods.rules import CardDetails, SetupOutcome
from billing.money.payment_methods.schemas import PortalSession, Setup
from billing.money.payments import store as payment_store
from billing.money.purchases import automatic
from billing.money.subscriptions.service import bill_late
from billing.money.taxation import service as taxation
from billing.money.top_ups.store import ask_if_low
from billing.platform.accounts import store as accounts
from billing.platform.provider_inbox import store as inbox
from gateways.provider import KEY_REFUSED, NO_CUSTOMER
from workflows.contracts import CommandRequest, MatterRef, StepRequest

T = TypeVar("T")
Ask = Callable[[Customer], Awaitable[T]]
_logger = logging.getLogger("activities.accounts")


class AccountActivities(AccountBase):
    """The activities of an account: credits, cards, automatic top-ups, limits and late invoices."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        self.customers = Customers(dependencies)

    @activity.defn(name="account.load")
    async def load(self, ref: MatterRef) -> AccountState:
        return await self.look(ref)

    @activity.defn(name="account.perform")
    async def perform(self, request: CommandRequest) -> AccountState:
        raise Invalid("UNKNOWN_COMMAND", f"an account has no command {request.command.name!r}")

    @activity.defn(name="account.expire_credits")
    async def expire_credits(self, request: StepRequest) -> AccountState:
        before = 0

        async def end(connection: AsyncConnection, _: Step, at: datetime) -> str:
            expired = await credits.expire(connection, request.ref.account_id, at)
            ended = f"{show_decimal(expired.credits)} credits, {expired.holds} holds"
            return f"{ended}, after {before} other holds" if before else ended

        while True:
            try:
                return await self.once(request, end)
            except DBAPIError as error:
                if not is_busy(error):
                    raise
                # Thousands of holds: a statement ends a part of them, which stays ended.
                part = await self._expire_ahead(request.ref.account_id)
                if not part:
                    raise
                before += part

    @activity.defn(name="account.notice")
    async def notice(self, request: StepRequest) -> AccountState:
        ahead = timedelta(days=self.settings.expiry_notice_days)

        async def notify(connection: AsyncConnection, _: Step, at: datetime) -> str | None:
            notified = await expiry_notices.notify(
                connection, request.ref.account_id, ahead=ahead, at=at
            )
            if await commands.result_of(connection, request.step.key) is not None:
                return None  # a lot of the same end lives again, or has this end once more
            return f"{show_decimal(notified)} credits end soon"

        return await self.once(request, notify)

    @activity.defn(name="account.top_up")
    async def top_up(self, request: StepRequest) -> AccountState:
        account_id = request.ref.account_id

        async def buy(connection: AsyncConnection, step: Step, at: datetime) -> Did | str:
            if step.top_up is None:
                wanted = await ask_if_low(connection, account_id, at)
                return "credits are wanted" if wanted else "no credits are wanted"
            purchase, done = await automatic.buy(connection, account_id, self.settings, at)
            return Did(done, [purchase] if purchase else [])

        return await self.once(request, buy)

    @activity.defn(name="account.bill")
    async def bill(self, request: StepRequest) -> AccountState:
        async def invoice(connection: AsyncConnection, _: Step, __: datetime) -> Did:
            born = await bill_late(connection, request.ref.account_id)
            return Did(f"{len(born)} to be collected", born)

        return await self.once(request, invoice)

    @activity.defn(name="account.limits")
    async def limits(self, request: StepRequest) -> AccountState:
        async def follow(connection: AsyncConnection, _: Step, at: datetime) -> str:
            await limits.follow(connection, request.ref.account_id, at)
            return "the cycle gives what is agreed"

        return await self.once(request, follow)

    @activity.defn(name="account.complete")
    async def complete(self, request: StepRequest) -> AccountState:
        async def go_on(connection: AsyncConnection, _: Step, at: datetime) -> str:
            done = await usage_lines.complete_part(connection, request.ref.account_id, at)
            return f"{done} uses"

        return await self.once(request, go_on)

    @activity.defn(name="account.settle_uses")
    async def settle_uses(self, request: StepRequest) -> AccountState:
        async def pay(connection: AsyncConnection, _: Step, at: datetime) -> str:
            paid = await unpaid.pay(connection, request.ref.account_id, at)
            await failpoint("unpaid.settled")
            return f"{paid} uses"

        return await self.once(request, pay)

    @activity.defn(name="account.tell_unpaid")
    async def tell_unpaid(self, request: StepRequest) -> AccountState:
        async def notify(connection: AsyncConnection, _: Step, at: datetime) -> str:
            count = await unpaid.notify(connection, request.ref.account_id, at)
            return f"{count} uses"

        return await self.once(request, notify)

    @activity.defn(name="account.charge_use")
    async def charge_use(self, request: StepRequest) -> AccountState:
        async def collect(connection: AsyncConnection, step: Step, at: datetime) -> Did:
            use = ids.decode(ids.BILLING_RECORD, step.use or "")
            matter, done = await unpaid_uses.collect(connection, request.ref.account_id, use, at)
            return Did(done, [matter] if matter else [])

        return await self.once(request, collect)

    @activity.defn(name="account.credit_tax")
    async def credit_tax(self, request: StepRequest) -> AccountState:
        if await self.still_due(request) is None:
            return await self.look(request.ref)
        account_id, woken = request.ref.account_id, list[Matter]()
        async with self.database.tenant(account_id) as connection:
            found = await reverse_charge.owed_back(connection, account_id)
        for invoice_id in found:
            # One transaction each: the invoice's matter must be locked before the account.
            async with self.database.tenant(account_id) as connection:
                woken.append(await reverse_charge.give_back(connection, invoice_id))

        async def note(connection: AsyncConnection, _: Step, at: datetime) -> Did:
            await taxation.credited(connection, account_id, at)
            return Did(f"{len(woken)} invoices", woken)

        return await self.once(request, note)

    @activity.defn(name="account.setup")
    async def setup(self, request: StepRequest) -> AccountState:
        step = await self.still_due(request)
        if step is None:
            return await self.look(request.ref)
        setup_id = ids.decode(ids.SETUP_INTENT, step.setup or "")
        async with self.database.tenant(request.ref.account_id) as connection:
            wanted = await card_setup.get(connection, setup_id)
        if wanted.stripe_setup_intent_id is None:
            return await self._follow(request, wanted, await self._open(wanted), "opened")
        cause: Cause = "asked" if step.asked else "scheduled"
        return await self._follow(request, wanted, await self._ask(wanted), cause)

    @activity.defn(name="account.detach")
    async def detach(self, request: StepRequest) -> AccountState:
        step = await self.still_due(request)
        if step is None:
            return await self.look(request.ref)
        method_id = ids.decode(ids.PAYMENT_METHOD, step.method or "")
        async with self.database.tenant(request.ref.account_id) as connection:
            reference = await method_store.removing(connection, method_id)
            is_apart = await self.is_apart(connection, request.ref.account_id)
        if reference is not None and not is_apart:
            await self.provider.detach_method(reference)

        async def note(connection: AsyncConnection, _: Step, at: datetime) -> str:
            await methods.detached(connection, method_id, at)
            return "detached"

        return await self.once(request, note)

    @activity.defn(name="account.portal")
    async def portal(self, request: StepRequest) -> AccountState:
        step = await self.still_due(request)
        if step is None:
            return await self.look(request.ref)
        portal_id = ids.decode(ids.PORTAL_SESSION, step.portal or "")
        async with self.database.tenant(request.ref.account_id) as connection:
            wanted = await portal.get(connection, portal_id)
        url = await self._open_portal(wanted)

        async def note(connection: AsyncConnection, _: Step, at: datetime) -> str:
            await portal.record(connection, portal_id, url, at)
            return "opened" if url is not None else "refused"

        return await self.once(request, note)

    @activity.defn(name="account.check")
    async def check(self, request: StepRequest) -> AccountState:
        step = await self.still_due(request)
        if step is None:
            return await self.look(request.ref)
        event_id = step.event or ""
        async with self.database.tenant(request.ref.account_id) as connection:
            asked_at = await database_now(connection)
            subject = await inbox.subject_of(connection, event_id) or ""
            account = await accounts.get(connection, request.ref.account_id)
            is_apart = await self.is_apart(connection, request.ref.account_id)
        is_default = subject == account.stripe_customer_id
        if is_default:
            subject = await self._default_of(subject, is_apart=is_apart)
        async with self.database.tenant(request.ref.account_id) as connection:
            wanted = await card_setup.find_by_reference(connection, subject)
            method = await method_store.find_by_reference(connection, subject)
        outcome = await self._ask(wanted) if wanted else None
        asks = subject and not wanted
        card = await self._card(request.ref.account_id, subject) if asks else None

        async def record(connection: AsyncConnection, _: Step, at: datetime) -> Did | str:
            is_chosen = is_default and not is_apart
            chosen_at = await inbox.newest(connection, event_id, asked_at) if is_chosen else None
            await inbox.mark_looked(connection, event_id, asked_at)
            if is_apart:
                return "kept apart"  # Stripe was not called: that no card was read proves nothing
            if wanted is not None:
                woken = await card_setup.record(connection, wanted, outcome, cause="told", at=at)
            else:
                woken = await following.follow(
                    connection, request.ref.account_id, subject, card, at,
                    chosen_at=chosen_at, may_be_links=payment_store.is_open_by_link,
                )  # fmt: skip
            return Did("looked" if wanted or method or card else "nothing to ask about", woken)

        return await self.once(request, record)

    async def _expire_ahead(self, account_id: UUID) -> int:
        """End and commit a part of what one statement has no time for."""
        async with self.database.tenant(account_id) as connection:
            return await credits.expire_ahead(connection, account_id)

    async def _follow(
        self, request: StepRequest, setup: Setup, outcome: SetupOutcome | None, cause: Cause
    ) -> AccountState:
        async def record(connection: AsyncConnection, _: Step, at: datetime) -> Did:
            woken = await card_setup.record(connection, setup, outcome, cause=cause, at=at)
            return Did(outcome.status if outcome is not None else "refused", woken)

        return await self.once(request, record)

    async def _open(self, setup: Setup) -> SetupOutcome | None:
        """Create the setup intent once, by its key."""

        async def make(customer: Customer) -> SetupOutcome:
            with doubting_a_key():
                return await with_new_keys(
                    customer.key(keys.setup_intent(setup.id)),
                    lambda key: self.provider.create_setup_intent(
                        customer.id, key, _metadata(setup)
                    ),
                )

        return await self._from_stripe(setup.account_id, make, "setup intent")

    async def _open_portal(self, wanted: PortalSession) -> str | None:
        """Return the portal's URL."""

        async def make(customer: Customer) -> str:
            return await with_new_keys(
                customer.key(keys.portal_session(wanted.id)),
                lambda key: self.provider.open_portal(customer.id, key, wanted.return_url),
            )

        return await self._from_stripe(wanted.account_id, make, "portal")

    async def _ask(self, setup: Setup) -> SetupOutcome | None:
        """Return the setup intent's state; None if the provider must not be called.

        One that is not known there proves nothing: the key may be another account's.
        """
        reference = setup.stripe_setup_intent_id
        if reference is None or await self._is_apart_now(setup.account_id):
            return None
        outcome = await self.provider.retrieve_setup_intent(reference)
        if outcome is None:
            raise Unavailable(KEY_REFUSED, f"Stripe does not know {reference} under our key")
        return outcome

    async def _default_of(self, customer_id: str, *, is_apart: bool) -> str:
        """Return the card that the customer made its default at the provider; empty: none."""
        return "" if is_apart else await self.provider.default_method(customer_id) or ""

    async def _card(self, account_id: UUID, reference: str) -> CardDetails | None:
        """Read a card at the provider; None if the customer has no such card, is gone, or is not
        to be asked for. Any other refusal says nothing of the card.
        """
        if await self._is_apart_now(account_id):
            return None

        async def read(customer: Customer) -> CardDetails | None:
            return await self.provider.retrieve_method(customer.id, reference)

        try:
            return await self.customers.served(account_id, read, renewable=False)
        except ProviderFailure as refusal:
            if refusal.code != NO_CUSTOMER:
                raise
            return None

    async def _from_stripe(self, account_id: UUID, ask: Ask[T], what: str) -> T | None:
        """Ask the provider for the account's customer; None if it refuses or must not be called."""
        if await self._is_apart_now(account_id):
            return None
        try:
            return await self.customers.served(account_id, ask)
        except ProviderFailure as refusal:
            _logger.warning("%s refused: %s", what, refusal.detail)
            return None

    async def _is_apart_now(self, account_id: UUID) -> bool:
        async with self.database.tenant(account_id) as connection:
            return await self.is_apart(connection, account_id)


def _metadata(setup: Setup) -> dict[str, str]:
    return {
        "account": ids.encode(ids.ACCOUNT, setup.account_id),
        "matter": ACCOUNT.workflow_id(setup.account_id),
        "setup": ids.encode(ids.SETUP_INTENT, setup.id),
    }

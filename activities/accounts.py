"""The steps of an account itself: let credits lapse, save cards, detach removed ones."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from activities.charging import SAME_KEY_TRIES, Charger
from activities.matter import CLOCK_SKEW, MatterActivities, World, now_of
from billing.accounts import rules, store
from billing.accounts.rules import AccountState
from billing.core import ids, keys
from billing.core.agenda import Step
from billing.core.clock import real_now
from billing.core.errors import ProviderFailure
from billing.core.failpoints import failpoint
from billing.core.matters import Matter
from billing.core.money import show_decimal
from billing.credits import notices
from billing.credits import service as credits
from billing.events import store as inbox
from billing.events.rules import event_of
from billing.limits import store as limits
from billing.payments import methods, methods_setup
from billing.payments.methods_setup import Cause
from billing.payments.rules import CardDetails, SetupOutcome
from billing.payments.schemas import Method, Setup
from billing.subscriptions import settlement
from billing.top_ups import buying
from billing.top_ups import service as top_ups
from billing.usage import closing
from workflows import start
from workflows.contracts import CommandRequest, MatterRef, StepRequest
from workflows.stubs import Accounts

_CAUSES: Final[dict[str, Cause]] = {"open": "opened", "check": "scheduled", "asked": "asked"}
_logger = logging.getLogger("activities.accounts")


class AccountActivities(MatterActivities[AccountState], Accounts):
    """Implements workflows.stubs.Accounts."""

    def __init__(self, world: World, client: Client) -> None:
        super().__init__(world)
        self.charger = Charger(world)
        self.client = client

    async def state(
        self, connection: AsyncConnection, ref: MatterRef, *, lock: bool
    ) -> AccountState:
        if lock:
            await credits.lock(connection, ref.subject_id)
        notice = timedelta(days=self.settings.expiry_notice_days)
        return await store.state(connection, ref.subject_id, notice)

    def agenda(self, state: AccountState) -> list[Step]:
        return rules.agenda(state)

    def is_due(self, state: AccountState, step: Step) -> bool:
        """Planned and due is enough: no step of an account waits for another one."""
        now = now_of(state) + CLOCK_SKEW
        return any(plan.key == step.key and plan.due <= now for plan in self.agenda(state))

    @activity.defn(name="account.load")
    async def load(self, ref: MatterRef) -> AccountState:
        return await self.look(ref)

    @activity.defn(name="account.perform")
    async def perform(self, request: CommandRequest) -> AccountState:
        return await self.obey(request)

    @activity.defn(name="account.lapse")
    async def lapse(self, request: StepRequest) -> AccountState:
        async def end(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            # A worker's clock a little behind must not find the credits still alive.
            until = max(at, request.step.due)
            lapsed = await credits.lapse(connection, request.ref.subject_id, until)
            return f"{show_decimal(lapsed.credits)} credits, {lapsed.holds} holds"

        return await self.once(request, end)

    @activity.defn(name="account.notice")
    async def notice(self, request: StepRequest) -> AccountState:
        ahead = timedelta(days=self.settings.expiry_notice_days)

        async def tell(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            at = max(at, request.step.due)
            told = await notices.tell(connection, request.ref.subject_id, ahead=ahead, at=at)
            return f"{show_decimal(told)} credits end soon"

        return await self.once(request, tell)

    @activity.defn(name="account.top_up")
    async def top_up(self, request: StepRequest) -> AccountState:
        born: list[Matter] = []

        async def buy(connection: AsyncConnection, state: AccountState, at: datetime) -> str:
            account_id, at = request.ref.subject_id, max(at, request.step.due)
            if state.top_up is None and not await top_ups.look(connection, account_id, at):
                return "no credits are wanted"
            if state.top_up is None:
                return "credits are wanted"
            purchase, done = await buying.buy(connection, account_id, self.settings, at)
            born[:] = [purchase] if purchase else []
            return done

        state = await self.once(request, buy)
        if born:
            await failpoint("top_up.committed")
        await self._tell(born)
        return state

    @activity.defn(name="account.bill")
    async def bill(self, request: StepRequest) -> AccountState:
        born: list[Matter] = []

        async def invoice(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            born[:] = await settlement.bill_late(
                connection, request.ref.subject_id, max(at, request.step.due)
            )
            return f"{len(born)} to be collected"

        state = await self.once(request, invoice)
        await self._tell(born)
        return state

    @activity.defn(name="account.limits")
    async def limits(self, request: StepRequest) -> AccountState:
        async def follow(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            await limits.follow(connection, request.ref.subject_id, max(at, request.step.due))
            return "the cycle gives what is agreed"

        return await self.once(request, follow)

    @activity.defn(name="account.complete")
    async def complete(self, request: StepRequest) -> AccountState:
        async def go_on(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            done = await closing.complete_part(
                connection, request.ref.subject_id, max(at, request.step.due)
            )
            return f"{done} uses"

        return await self.once(request, go_on)

    @activity.defn(name="account.setup")
    async def setup(self, request: StepRequest) -> AccountState:
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        name, _, mark = request.step.key.partition("/")
        async with self.database.tenant(request.ref.account_id) as connection:
            wanted = await methods_setup.get(connection, ids.decode(ids.SETUP_INTENT, name))
        outcome = await self._open(wanted) if mark == "open" else await self._ask(wanted)
        return await self._follow(request, wanted, outcome, _CAUSES[mark.partition("-")[0]])

    @activity.defn(name="account.detach")
    async def detach(self, request: StepRequest) -> AccountState:
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        method_id = ids.decode(ids.PAYMENT_METHOD, request.step.key.partition("/")[0])
        async with self.database.tenant(request.ref.account_id) as connection:
            reference = await methods.removing(connection, method_id)
        if reference is not None:
            await self.provider.detach_method(reference)

        async def note(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            await methods.detached(connection, method_id, at)
            return "detached"

        return await self.once(request, note)

    @activity.defn(name="account.check")
    async def check(self, request: StepRequest) -> AccountState:
        asked_at = real_now()
        _, due = await self.still_due(request)
        if not due:
            return await self.look(request.ref)
        event_id = event_of(request.step.key) or ""
        async with self.database.tenant(request.ref.account_id) as connection:
            subject = await inbox.subject_of(connection, event_id) or ""
            wanted = await methods_setup.find_by_reference(connection, subject)
            method = await methods.find_by_reference(connection, subject)
        outcome = await self._ask(wanted) if wanted else None
        card = await self._card(method) if method else None
        woken: list[Matter] = []

        async def record(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            await inbox.mark_looked(connection, event_id, asked_at)
            if wanted is not None:
                woken[:] = await methods_setup.record(
                    connection, wanted.id, outcome, cause="told", at=at
                )
            if method is not None:
                await _keep_up(connection, method.id, card, at)
            return "looked" if wanted or method else "nothing to ask about"

        state = await self.once(request, record)
        await self._tell(woken)
        return state

    async def _follow(
        self, request: StepRequest, setup: Setup, outcome: SetupOutcome | None, cause: Cause
    ) -> AccountState:
        woken: list[Matter] = []

        async def record(connection: AsyncConnection, _: AccountState, at: datetime) -> str:
            woken[:] = await methods_setup.record(
                connection, setup.id, outcome, cause=cause, at=max(at, request.step.due)
            )
            return outcome.status if outcome is not None else "refused"

        state = await self.once(request, record)
        await self._tell(woken)
        return state

    async def _open(self, setup: Setup) -> SetupOutcome | None:
        """Make the setup intent, once by its key; None when the provider refuses."""
        key = keys.setup_intent(setup.id)
        tries = activity.info().attempt
        try:
            return await self.provider.create_setup_intent(
                await self.charger.customer(setup.account_id),
                # It moves no money, so a stored 500 may be passed by with a new key.
                key if tries <= SAME_KEY_TRIES else f"{key}/again-{tries}",
                _metadata(setup),
            )
        except ProviderFailure as refusal:
            _logger.warning("setup intent refused: %s", refusal.detail)
            return None

    async def _ask(self, setup: Setup) -> SetupOutcome | None:
        """Where the setup intent stands; None when the provider does not know it."""
        if setup.stripe_setup_intent_id is None:
            return None
        try:
            return await self.provider.retrieve_setup_intent(setup.stripe_setup_intent_id)
        except ProviderFailure as refusal:
            _logger.warning("setup intent is gone: %s", refusal.detail)
            return None

    async def _card(self, method: Method) -> CardDetails | None:
        """What the provider says of a stored card; None when it is detached there."""
        try:
            return await self.provider.retrieve_method(method.stripe_payment_method_id)
        except ProviderFailure:
            return None

    async def _tell(self, woken: Sequence[Matter]) -> None:
        """Start or wake workflows whose rows changed; the sweeper tells those that are missed."""
        for matter in woken:
            try:
                await start.nudge(self.client, matter)
            except RPCError as error:
                _logger.warning("%s left to the sweeper: %s", matter.workflow_id, error.message)


async def _keep_up(
    connection: AsyncConnection, method_id: UUID, card: CardDetails | None, at: datetime
) -> None:
    """Follow the provider: a renewed card has a new expiry, a detached one is gone."""
    method = await methods.find(connection, method_id)
    if method is None:
        return
    if card is None:
        await methods.detached(connection, method_id, at)
    else:
        await methods.refresh(connection, method, card, at)


def _metadata(setup: Setup) -> dict[str, str]:
    account = ids.encode(ids.ACCOUNT, setup.account_id)
    return {
        "account": account,
        "matter": f"account/{account}",
        "setup": ids.encode(ids.SETUP_INTENT, setup.id),
    }

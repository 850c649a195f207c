"""The accounts' customers at the card provider: created once, and again after one was deleted."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from temporalio import activity

from activities import notifying
from activities.dependencies import Dependencies
from activities.tries import doubting_a_look, with_new_keys
from billing.core import clock, ids, keys
from billing.core.errors import ProviderFailure, Unavailable
from billing.matters.schemas import Matter
from billing.money.invoice_requests import lost_customers
from billing.platform.accounts import store as accounts
from gateways.provider import KEY_REFUSED, NO_CUSTOMER

REMEMBERED: Final = 10_000
T = TypeVar("T")
_logger = logging.getLogger("activities.customers")


@dataclass(frozen=True, slots=True)
class Customer:
    """The provider's customer of an account."""

    id: str
    is_first: bool = True
    """False: an earlier customer of the account was deleted at the provider."""

    def key(self, key: str) -> str:
        """Return the key of a call for this customer: an earlier one may have used the same."""
        return key if self.is_first else f"{key}/{self.id}"


class Customers:
    """Finds and creates the customers, and makes the calls that need one."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._database = dependencies.database
        self._provider = dependencies.provider
        self._known: dict[UUID, Customer] = {}

    async def served(
        self,
        account_id: UUID,
        call: Callable[[Customer], Awaitable[T]],
        *,
        renewable: bool = True,
    ) -> T:
        """Make a call for the account's customer.

        If that customer was deleted at the provider, it is forgotten with its cards, and a
        `renewable` call is made for a new one. Errors: those of the call; PROVIDER_KEY.
        """
        customer = await self.of(account_id)
        try:
            return await call(customer)
        except ProviderFailure as refused:
            if refused.code != NO_CUSTOMER:
                raise
            self._known.pop(account_id, None)
            await self._demand_deleted(customer.id)
            if await self._forget(account_id, customer.id) and not renewable:
                raise
        return await call(await self.of(account_id))

    async def of(self, account_id: UUID) -> Customer:
        """Return the account's customer, created once [A15]."""
        known = self._known.get(account_id)
        if known is None:
            known = await self._find(account_id)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[account_id] = known
        return known

    async def _find(self, account_id: UUID) -> Customer:
        async with self._database.tenant(account_id) as connection:
            account = await accounts.get(connection, account_id)
        gone = account.gone_customer_id
        if account.stripe_customer_id is not None:
            return Customer(account.stripe_customer_id, is_first=gone is None)
        external = ids.encode(ids.ACCOUNT, account_id)
        made = await with_new_keys(
            keys.customer(external, gone),
            lambda key: self._provider.create_customer(account_id, key, {"account": external}),
        )
        async with self._database.tenant(account_id) as connection:
            kept = await accounts.lock_customer(connection, account_id, made)
        return Customer(kept or made, is_first=gone is None)

    async def _demand_deleted(self, customer_id: str) -> None:
        """Errors: PROVIDER_KEY if our key does not know the customer.

        That of another Stripe account, or of the other mode, knows none: nothing may be forgotten.
        """
        with doubting_a_look():
            is_deleted = await self._provider.customer_is_deleted(customer_id)
        if not is_deleted:
            words = f"Stripe does not know {customer_id} under our key: is it another account's?"
            _logger.error(words)
            raise Unavailable(KEY_REFUSED, words)

    async def _forget(self, account_id: UUID, customer_id: str) -> bool:
        """Forget a deleted customer with its cards; False if the account has another one now."""
        woken: list[Matter] = []
        async with self._database.tenant(account_id) as connection:
            account = await accounts.get(connection, account_id)
            if account.stripe_customer_id != customer_id:
                return False
            opened = await lost_customers.opened(connection, account_id)
        for invoice_id in opened:
            # One transaction each: the invoice's matter must be locked before the account.
            async with self._database.tenant(account_id) as connection:
                at = await clock.now(connection, account_id)
                woken += await lost_customers.call_back(connection, invoice_id, at)
        async with self._database.tenant(account_id) as connection:
            at = await clock.now(connection, account_id)
            told = await lost_customers.forget(connection, account_id, customer_id, at)
        if told is None:
            return False
        _logger.error(
            "the customer %s of %s was deleted at Stripe: its cards are gone, and its payer has to"
            " save one again",
            customer_id,
            ids.encode(ids.ACCOUNT, account_id),
        )
        if activity.in_activity():
            await notifying.nudge(activity.client(), [*woken, *told])
        return True

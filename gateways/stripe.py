"""The Stripe implementation of the provider protocol.

One try per call (Temporal retries, with the same key); amounts are converted to Stripe's units.
"""

import logging
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar
from uuid import UUID

import stripe
from stripe import StripeClient

from billing.core import ids
from billing.core.currencies import to_provider
from billing.core.errors import ProviderFailure, Unavailable
from billing.money.payment_methods.rules import CardDetails, SetupOutcome
from billing.money.payments.rules import Charge, CheckoutSession, Outcome
from billing.money.reconciliations.schemas import AtStripe, MoneyPage, ObjectKind
from billing.money.refunds.rules import RefundOutcome, Taken
from gateways import events, list_limits, money_lists
from gateways.provider import (
    CALL_SECONDS,
    KEY_REFUSED,
    NO_CUSTOMER,
    CheckoutRequest,
    EventPage,
    IntentRequest,
    RefundRequest,
)
from gateways.stripe_errors import AlreadyDecided, Declined, Refusal, translated
from gateways.stripe_http import LoggingClient
from gateways.stripe_objects import (
    card_details,
    charge_of,
    checkout_session,
    default_card,
    dispute_outcome,
    intent_outcome,
    refund_outcome,
    setup_outcome,
)

T = TypeVar("T")
_logger: Final = logging.getLogger("gateways.stripe")


class StripeGateway:
    """Implements `gateways.provider.PaymentProvider`."""

    def __init__(
        self, key: str, base: str | None, *, timeout_seconds: float = CALL_SECONDS
    ) -> None:
        """Connect to `base`, the sandbox's address, or to Stripe itself if it is None."""
        stripe.enable_telemetry = False
        self._http = LoggingClient(timeout=timeout_seconds)
        self._client = StripeClient(
            key,
            http_client=self._http,
            max_network_retries=0,
            base_addresses={"api": base, "files": base, "connect": base, "meter_events": base}
            if base
            else {},
        )

    @property
    def refuses_key(self) -> bool:
        """Return True if Stripe does not accept our key, or denies it a right that we need, or does
        not know an object of ours under it.
        """
        return self._http.rights.refuses_key

    @property
    def unknown_object(self) -> str | None:
        """Return an object of ours that Stripe does not know under our key."""
        return self._http.rights.unknown_object

    @property
    def client(self) -> StripeClient:
        """Return the SDK's client, for other calls over the same connections."""
        return self._client

    async def create_customer(self, account_id: UUID, key: str, metadata: dict[str, str]) -> str:
        async with translated():
            customer = await self._client.v1.customers.create_async(
                {
                    "description": ids.encode(ids.ACCOUNT, account_id),
                    "metadata": metadata,
                },
                {"idempotency_key": key},
            )
        return customer.id

    async def customer_is_deleted(self, customer_id: str) -> bool:
        return bool(getattr(await self._customer(customer_id), "deleted", False))

    async def knows_customer(self, customer_id: str) -> bool:
        """Return False if our key knows no such customer, not even a deleted one."""
        return await self._customer(customer_id) is not None

    async def _customer(self, customer_id: str) -> stripe.Customer | None:
        customer = await _if_known(self._client.v1.customers.retrieve_async(customer_id))
        self._http.rights.note_object(customer_id, is_known=customer is not None)
        return customer

    async def create_intent(self, request: IntentRequest) -> Outcome:
        params: Any = {
            "amount": to_provider(request.amount_minor, request.currency),
            "currency": request.currency.lower(),
            "customer": request.customer_id,
            "description": request.description,
            "metadata": request.metadata,
            # Redirect methods would need a return page per attempt; cards and wallets do not.
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
        if request.save_card:
            params["setup_future_usage"] = "off_session"
        async with translated():
            intent = await self._client.v1.payment_intents.create_async(
                params, {"idempotency_key": request.key}
            )
        return intent_outcome(intent)

    async def confirm_intent(
        self, intent_id: str, key: str, payment_method: str, *, off_session: bool, is_card: bool
    ) -> Outcome:
        params: Any = {"payment_method": payment_method}
        if off_session:
            params["off_session"] = True
        if off_session or not is_card:
            # Stripe saves no card while the payer is absent, and saving a bank account would need
            # a new mandate even if one is on file.
            params["setup_future_usage"] = ""
        try:
            async with translated():
                return intent_outcome(
                    await self._client.v1.payment_intents.confirm_async(
                        intent_id, params, {"idempotency_key": key}
                    )
                )
        except Declined as declined:
            return declined.outcome
        except AlreadyDecided:
            return await self.retrieve_intent(intent_id)
        except Refusal as refused:
            if refused.of_method is None:
                raise
            return Outcome(kind="declined", intent_id=intent_id, decline=refused.of_method)

    async def keep_next_card(self, intent_id: str) -> None:
        keep: Any = {"setup_future_usage": "off_session"}
        try:
            async with translated():
                await self._client.v1.payment_intents.update_async(intent_id, keep)
        except ProviderFailure as refusal:
            # The intent was decided meanwhile, or its next card pays without being saved.
            _logger.warning("%s will not keep its next card: %s", intent_id, refusal)

    async def retrieve_intent(self, intent_id: str) -> Outcome:
        try:
            async with translated():
                intent = await self._client.v1.payment_intents.retrieve_async(intent_id)
        except Refusal as refused:
            if refused.is_missing:
                self._http.rights.note_object(intent_id, is_known=False)
            raise
        self._http.rights.note_object(intent_id, is_known=True)
        return intent_outcome(intent)

    async def find_intent(self, customer_id: str, payment: str, since: datetime) -> Outcome | None:
        made: Any = {"gte": int(since.timestamp())}
        asked: Any = {"customer": customer_id, "created": made, "limit": list_limits.PAGE}
        async with translated():
            page = await self._client.v1.payment_intents.list_async(asked)
            async for intent in page.auto_paging_iter():
                if intent.metadata.to_dict().get("payment") == payment:
                    return intent_outcome(intent)
        return None

    async def cancel_intent(self, intent_id: str, key: str) -> Outcome:
        try:
            async with translated():
                return intent_outcome(
                    await self._client.v1.payment_intents.cancel_async(
                        intent_id, {}, {"idempotency_key": key}
                    )
                )
        except AlreadyDecided:
            return await self.retrieve_intent(intent_id)

    async def charges(self, intent_id: str) -> list[Charge]:
        async with translated():
            page = await self._client.v1.charges.list_async(
                {"payment_intent": intent_id, "limit": list_limits.PAGE}
            )
        return [charge_of(charge) for charge in page.data]

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        params: Any = {
            "payment_intent": request.intent_id,
            "amount": to_provider(request.amount_minor, request.currency),
            "metadata": request.metadata,
        }
        async with translated():
            made = await self._client.v1.refunds.create_async(
                params, {"idempotency_key": request.key}
            )
        return refund_outcome(made)

    async def taken_back(self, intent_id: str) -> Taken:
        asked: Any = {"payment_intent": intent_id, "limit": list_limits.PAGE}
        async with translated():
            refunds = await self._client.v1.refunds.list_async(asked)
            made = [refund_outcome(one) async for one in refunds.auto_paging_iter()]
            disputes = await self._client.v1.disputes.list_async(asked)
            raised = [dispute_outcome(one) async for one in disputes.auto_paging_iter()]
        return Taken(refunds=tuple(reversed(made)), disputes=tuple(reversed(raised)))

    async def intent_card(self, intent_id: str) -> CardDetails | None:
        async with translated():
            intent = await self._client.v1.payment_intents.retrieve_async(
                intent_id, {"expand": ["payment_method"]}
            )
        method = intent.payment_method
        if method is None or isinstance(method, str) or method.customer is None:
            return None
        return card_details(method)

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        params: Any = {
            "mode": "payment",
            "customer": request.customer_id,
            "success_url": request.return_url,
            "cancel_url": request.return_url,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": request.currency.lower(),
                        "unit_amount": to_provider(request.amount_minor, request.currency),
                        "product_data": {"name": request.description},
                    },
                }
            ],
            "metadata": request.metadata,
            "payment_intent_data": {
                "metadata": request.metadata,
                "description": request.description,
            },
        }
        async with translated():
            session = await self._client.v1.checkout.sessions.create_async(
                params, {"idempotency_key": request.key}
            )
        return checkout_session(session)

    async def retrieve_checkout(self, session_id: str) -> CheckoutSession:
        async with translated():
            session = await self._client.v1.checkout.sessions.retrieve_async(session_id)
        return checkout_session(session)

    async def expire_checkout(self, session_id: str, key: str) -> CheckoutSession:
        try:
            async with translated():
                return checkout_session(
                    await self._client.v1.checkout.sessions.expire_async(
                        session_id, {}, {"idempotency_key": key}
                    )
                )
        except ProviderFailure:
            # The page is complete or expired already: its own state counts.
            return await self.retrieve_checkout(session_id)

    async def create_setup_intent(
        self, customer_id: str, key: str, metadata: dict[str, str]
    ) -> SetupOutcome:
        async with translated():
            intent = await self._client.v1.setup_intents.create_async(
                {
                    "customer": customer_id,
                    "usage": "off_session",
                    "metadata": metadata,
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                },
                {"idempotency_key": key},
            )
        return setup_outcome(intent)

    async def retrieve_setup_intent(self, setup_intent_id: str) -> SetupOutcome | None:
        intent = await _if_known(
            self._client.v1.setup_intents.retrieve_async(
                setup_intent_id, {"expand": ["payment_method"]}
            )
        )
        return setup_outcome(intent) if intent is not None else None

    async def open_portal(self, customer_id: str, key: str, return_url: str) -> str:
        async with translated():
            session = await self._client.v1.billing_portal.sessions.create_async(
                {"customer": customer_id, "return_url": return_url}, {"idempotency_key": key}
            )
        return session.url

    async def retrieve_method(self, customer_id: str, payment_method: str) -> CardDetails | None:
        cards = self._client.v1.customers.payment_methods
        try:
            card = await _if_known(cards.retrieve_async(customer_id, payment_method))
        except Refusal as refused:
            if refused.code == NO_CUSTOMER:
                raise
            # Stripe has several words for a card that is not the customer's any more.
            method = await _if_known(self._client.v1.payment_methods.retrieve_async(payment_method))
            if method is not None and method.customer == customer_id:
                raise
            return None
        return card_details(card) if card is not None else None

    async def method_is_detached(self, payment_method: str) -> bool:
        method = await _if_known(self._client.v1.payment_methods.retrieve_async(payment_method))
        return method is not None and method.customer is None

    async def detach_method(self, payment_method: str) -> None:
        try:
            async with translated():
                await self._client.v1.payment_methods.detach_async(payment_method)
        except Refusal as refused:
            # A card that is detached is what was asked for. Else another account's key knows none.
            if not await self.method_is_detached(payment_method):
                self._http.rights.note_object(payment_method, is_known=not refused.is_missing)
                raise Unavailable(KEY_REFUSED, refused.detail) from refused
        self._http.rights.note_object(payment_method, is_known=True)

    async def default_method(self, customer_id: str) -> str | None:
        customer = await self._customer(customer_id)
        if customer is None:
            raise Unavailable(KEY_REFUSED, f"Stripe does not know {customer_id} under our key")
        return default_card(customer)

    async def events_between(self, since: datetime, until: datetime) -> AsyncIterator[EventPage]:
        first, last = int(since.timestamp()), int(until.timestamp())
        async for page in events.oldest_first(self._events, first, last):
            yield page

    async def money_page(
        self, kind: ObjectKind, since: datetime, until: datetime, after: str | None
    ) -> MoneyPage:
        created = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
        asked: dict[str, Any] = {
            "expand": money_lists.EXPANDED[kind],
            "created": created,
            "limit": list_limits.PAGE,
        }
        if after is not None:
            asked["starting_after"] = after
        async with translated():
            path = money_lists.PATHS[kind]
            page = await self._client.raw_request_async("get", path, **asked)
        return money_lists.page(kind, page.data)

    async def money(self, kind: ObjectKind, object_id: str) -> AtStripe | None:
        path, expand = f"{money_lists.PATHS[kind]}/{object_id}", money_lists.expanded_alone(kind)
        found = await _if_known(self._client.raw_request_async("get", path, expand=expand))
        return money_lists.read(kind, found.data) if found is not None else None

    async def _events(self, asked: events.EventQuery) -> events.Listed:
        params: Any = {
            "types": list(asked.types),
            "created": {"gte": asked.first, "lte": asked.last},
            "limit": list_limits.PAGE,
        }
        if asked.behind is not None:
            params["starting_after"] = asked.behind
        async with translated():
            try:
                # As JSON: the SDK's object of an event costs ten times as much as the event's text.
                page = await self._client.raw_request_async("get", "/v1/events", **params)
            except stripe.APIError as error:
                if error.http_status == HTTPStatus.OK:
                    raise events.Unreadable from error
                raise
        body: Any = page.data
        return events.Listed(body["data"], body["has_more"])

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]


async def _if_known(asked: Awaitable[T]) -> T | None:
    """Return Stripe's object; None if our key knows no such object. Errors: those of `translated`;
    of an object of a customer who is gone, too.
    """
    try:
        async with translated():
            return await asked
    except Refusal as refused:
        if not refused.is_missing or refused.code == NO_CUSTOMER:
            raise
        return None

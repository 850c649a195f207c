"""The order provider's implementation with PayPal's Orders API (v2).

`POST /v2/checkout/orders` creates an order with an approve link; once the payer has approved it,
`POST …/{id}/capture` captures it, once. `PayPal-Request-Id` is the idempotency key. One try per
call, as for Stripe; amounts are decimal strings.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, Literal
from urllib.parse import quote

import httpx2

from billing.core.errors import ProviderFailure, Unavailable
from billing.core.paypal_currencies import from_paypal, to_paypal
from billing.money.payments.rules import Decline, Order, Outcome, OutcomeKind
from billing.money.refunds.rules import RefundOutcome, Taken
from gateways.key_rights import KeyRights
from gateways.provider import (
    CALL_SECONDS,
    KEY_IN_USE,
    KEY_REFUSED,
    SILENT,
    OrderRequest,
    RefundRequest,
)

TOKEN_MARGIN_SECONDS: Final = 60.0
Json = dict[str, Any]
_ORDERS: Final = "/v2/checkout/orders"
_STATES: Final[Mapping[str, Literal["open", "approved", "captured", "gone"]]] = {
    "APPROVED": "approved",
    "COMPLETED": "captured",
    "VOIDED": "gone",
}
_CAPTURES: Final[Mapping[str, OutcomeKind]] = {
    "COMPLETED": "succeeded",
    # This money was received; what went back of it is told beside it.
    "PARTIALLY_REFUNDED": "succeeded",
    "REFUNDED": "succeeded",
    "PENDING": "processing",
}
_REFUNDS: Final[Mapping[str, Literal["processing", "succeeded", "failed"]]] = {
    "COMPLETED": "succeeded",
    "PENDING": "processing",
}
_APPROVE_LINKS: Final = ("payer-action", "approve")
# A refused capture concerns the payer (the order stays, and they may choose another way to pay),
# except for faults of our account or request, which another way to pay would not fix.
_OURS: Final = frozenset(
    {
        "AMOUNT_MISMATCH", "AUTH_CAPTURE_NOT_ENABLED", "CANNOT_BE_ZERO_OR_NEGATIVE",
        "DECIMAL_PRECISION", "DUPLICATE_INVOICE_ID", "PERMISSION_DENIED",
        "TRANSACTION_RECEIVING_LIMIT_EXCEEDED",
    }
)  # fmt: skip
_OUR_KINDS: Final = ("CURRENCY_", "INVALID_", "MISSING_", "PAYEE_", "UNSUPPORTED_")
# Our account's fraud filters refuse only this payer.
_FILTERED: Final = "PAYEE_BLOCKED_TRANSACTION"
# PayPal ends an order that is not approved and captured in time, and forgets it.
_GONE: Final = frozenset({"ORDER_EXPIRED", "RESOURCE_NOT_FOUND"})
# The order was captured meanwhile, or is not approved: read its current state.
_LOOK_AGAIN: Final = frozenset({"ORDER_ALREADY_CAPTURED", "ORDER_NOT_APPROVED"})


class PayPalRefusal(ProviderFailure):
    """PayPal's refusal with its issue code, such as INSTRUMENT_DECLINED."""

    def __init__(self, answered: int, issue: str, words: str) -> None:
        super().__init__("PROVIDER_REFUSED", f"PayPal refused the request: {words or issue}")
        self.answered = answered
        self.issue = issue
        self.words = words

    @property
    def is_payers(self) -> bool:
        """Return True if this payer was refused: any issue that is not known as our fault."""
        ours = self.issue in _OURS or self.issue.startswith(_OUR_KINDS)
        decided = self.answered == HTTPStatus.UNPROCESSABLE_ENTITY
        return decided and (not ours or self.issue == _FILTERED)


class PayPalGateway:
    """Implements `gateways.provider.OrderProvider`."""

    def __init__(
        self,
        client_id: str,
        secret: str,
        url: str,
        *,
        timeout_seconds: float = CALL_SECONDS,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._credentials = (client_id, secret)
        self._timeout_seconds = timeout_seconds
        self._client = httpx2.AsyncClient(
            base_url=url, timeout=timeout_seconds, transport=transport, trust_env=False
        )
        self._token: str | None = None
        self._token_until = 0.0
        self._rights = KeyRights()

    @property
    def refuses_key(self) -> bool:
        """Return True while PayPal refuses our credentials, or a call that they may not make."""
        return self._rights.refuses_key

    async def create_order(self, request: OrderRequest) -> Order:
        unit = {
            "amount": _amount(request.amount_minor, request.currency),
            "description": request.description[:127],
            "invoice_id": request.invoice_id,
            "custom_id": request.custom_id,
        }
        experience = {
            "return_url": request.return_url,
            "cancel_url": request.return_url,
            "user_action": "PAY_NOW",
            "shipping_preference": "NO_SHIPPING",
        }
        body = {
            "intent": "CAPTURE",
            "purchase_units": [unit],
            "payment_source": {"paypal": {"experience_context": experience}},
        }
        return _order(await self._ask("POST", _ORDERS, body, key=request.key))

    async def retrieve_order(self, order_id: str) -> Order:
        try:
            return _order(await self._ask("GET", _path(order_id)))
        except PayPalRefusal as refused:
            if refused.issue in _GONE:
                return _gone(order_id)
            raise

    async def capture_order(self, order_id: str, key: str) -> Order:
        try:
            return _order(await self._ask("POST", f"{_path(order_id)}/capture", {}, key=key))
        except PayPalRefusal as refused:
            if refused.issue in _LOOK_AGAIN:
                return await self.retrieve_order(order_id)
            if refused.issue in _GONE:
                return _gone(order_id)
            if not refused.is_payers:
                raise
            words = refused.words or "PayPal could not take the payment."
            # An order that stays approved is captured at each look: its refusal is one, however
            # often PayPal repeats it.
            code = refused.issue.lower()
            decline = Decline(code=code, message=words, unconfirmed=f"{order_id}-{code}")
            declined = Outcome(kind="declined", decline=decline)
            return Order(order_id=order_id, status="approved", capture=declined)

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        path = f"/v2/payments/captures/{quote(request.intent_id, safe='')}/refund"
        body = {
            "amount": _amount(request.amount_minor, request.currency),
            "custom_id": request.metadata["refund"],
            "invoice_id": request.metadata["refund"],
        }
        return _refund(await self._ask("POST", path, body, key=request.key))

    async def taken_back(self, intent_id: str) -> Taken:
        capture = await self._ask("GET", f"/v2/payments/captures/{quote(intent_id, safe='')}")
        order_id = capture["supplementary_data"]["related_ids"]["order_id"]
        order = await self._ask("GET", _path(order_id))
        return Taken(refunds=_refunds(order["purchase_units"][0]))

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(
        self, method: str, path: str, body: Json | None = None, key: str | None = None
    ) -> Json:
        """Return the answer's JSON. Errors: PayPalRefusal, Unavailable."""
        answer = await self._send(method, path, body, key)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = None  # it may have been revoked early
            answer = await self._send(method, path, body, key)
        self._rights.note(_right(method, path), answer.status_code)
        return _json(answer)

    async def _send(
        self, method: str, path: str, body: Json | None, key: str | None
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {await self._bearer()}"}
        headers["Prefer"] = "return=representation"
        if key is not None:
            headers["PayPal-Request-Id"] = key
        return await self._reach(method, path, json=body, headers=headers)

    async def _bearer(self) -> str:
        """Return the access token, renewed shortly before it expires."""
        if self._token is None or monotonic() > self._token_until:
            form = {"grant_type": "client_credentials"}
            answer = await self._reach(
                "POST", "/v1/oauth2/token", data=form, auth=self._credentials
            )
            if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                # A token that is given says nothing yet: the call that it is for may be refused.
                self._rights.note_unknown()
            given = _json(answer)
            self._token = str(given["access_token"])
            self._token_until = monotonic() + float(given["expires_in"]) - TOKEN_MARGIN_SECONDS
        return self._token

    async def _reach(self, method: str, path: str, **more: Any) -> httpx2.Response:
        try:
            # A limit for the whole answer: the client's own limit is per read.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._client.request(method, path, **more)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise Unavailable(SILENT, f"no answer from PayPal: {type(error).__name__}") from error


def _json(answer: httpx2.Response) -> Json:
    """Return an answer's JSON. Errors: PayPalRefusal, Unavailable, by its status."""
    status = answer.status_code
    if status == HTTPStatus.CONFLICT:
        raise Unavailable(KEY_IN_USE, "PayPal is still processing a request with this key")
    if status == HTTPStatus.UNAUTHORIZED:
        raise Unavailable(KEY_REFUSED, "PayPal does not accept our credentials")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unavailable("PROVIDER_UNAVAILABLE", f"PayPal did not decide: {status}")
    try:
        body = answer.json()
    except ValueError as error:
        raise Unavailable("PROVIDER_UNAVAILABLE", "PayPal's answer is not JSON") from error
    if not isinstance(body, dict):
        raise Unavailable("PROVIDER_UNAVAILABLE", "PayPal's answer is not a JSON object")
    if status >= HTTPStatus.BAD_REQUEST:
        detail: Json = next(iter(body.get("details") or ()), {})
        issue = body.get("name") if status == HTTPStatus.NOT_FOUND else detail.get("issue")
        if status == HTTPStatus.FORBIDDEN:
            denied = f"PayPal does not allow this to our account: {issue or body.get('name')}"
            raise Unavailable(KEY_REFUSED, denied)
        words = str(detail.get("description") or "")
        raise PayPalRefusal(status, str(issue or body.get("name")), words)
    return body


def _right(method: str, path: str) -> tuple[str, ...]:
    """Return the sort of a call: its method and its path without ids."""
    return (method, *path.split("/")[3::2])


def _path(order_id: str) -> str:
    return f"{_ORDERS}/{quote(order_id, safe='')}"


def _gone(order_id: str) -> Order:
    return Order(order_id=order_id, status="gone")


def _amount(minor: int, currency: str) -> Json:
    return {"currency_code": currency, "value": to_paypal(minor, currency)}


def _order(body: Json) -> Order:
    links = {one["rel"]: one["href"] for one in body.get("links", ())}
    unit: Json = next(iter(body.get("purchase_units") or ()), {})
    captures = unit.get("payments", {}).get("captures", [])
    return Order(
        order_id=body["id"],
        approve_url=next((links[rel] for rel in _APPROVE_LINKS if rel in links), None),
        status=_STATES.get(body["status"], "open"),
        capture=_capture(captures[-1], _refunds(unit)) if captures else None,
    )


def _capture(body: Json, given_back: tuple[RefundOutcome, ...]) -> Outcome:
    """Return a capture's outcome; a denied capture ends its order."""
    kind = _CAPTURES.get(body["status"], "declined")
    amount = body["amount"]
    received = from_paypal(amount["value"], amount["currency_code"])
    reason = (body.get("status_details") or {}).get("reason") or body["status"]
    decline = Decline(code=str(reason).lower(), message="PayPal could not take the payment.")
    return Outcome(
        kind=kind,
        intent_id=body["id"],
        charge_id=body["id"],
        received_minor=received if kind == "succeeded" else 0,
        decline=decline if kind == "declined" else None,
        is_over=kind == "declined",
        given_back=given_back,
    )


def _refunds(unit: Json) -> tuple[RefundOutcome, ...]:
    """Return the refunds of an order's one unit, whoever made them."""
    made = (_refund(one) for one in unit.get("payments", {}).get("refunds", ()))
    # An entry of 0.00, such as a reversal of what is refunded already, took nothing back.
    return tuple(one for one in made if one.amount_minor)


def _refund(body: Json) -> RefundOutcome:
    status = _REFUNDS.get(body["status"], "failed")
    reason = (body.get("status_details") or {}).get("reason")
    amount = body["amount"]
    return RefundOutcome(
        refund_id=body["id"],
        status=status,
        failure=str(reason or body["status"]).lower() if status == "failed" else None,
        amount_minor=from_paypal(amount["value"], amount["currency_code"]),
        name=body.get("custom_id"),
        reason=body.get("note_to_payer"),
    )

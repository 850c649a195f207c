"""PayPal's API as far as we use it, its approve page, and the orders that steer them."""

from collections.abc import Callable, Coroutine
from typing import Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from sandbox.pages import show_page
from sandbox.paypal import PayPal, Refusal, Taking
from sandbox.paypal_events import Events
from sandbox.settings import Settings
from sandbox.shapes import Json

KEY = "paypal-request-id"


class Steer(BaseModel):
    """The fate of an order's captures, the issue of a decline, and whether its events are sent;
    whether its time is over.
    """

    model_config = ConfigDict(extra="forbid")

    capture: Taking = "pays"
    issue: str = "INSTRUMENT_DECLINED"
    mute: bool = False
    expired: bool = False


class Settle(BaseModel):
    """The end of a pending capture."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["COMPLETED", "DENIED"]


class Refusing(APIRoute):
    """A route whose refusals are answered as PayPal writes them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of FastAPI, with refusals as answers."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Refusal as refused:
                return JSONResponse(refused.body, refused.status)

        return answer


def routes(settings: Settings) -> APIRouter:
    """PayPal beside Stripe, under the same address."""
    router = APIRouter(route_class=Refusing)
    events = Events(settings)
    paypal = PayPal(events, settings.public_url)
    tokens: set[str] = set()
    _credentials(router, tokens, events)
    _orders(router, paypal, tokens)
    _payments(router, paypal, tokens)
    _pages(router, paypal)
    _control(router, paypal, events)
    return router


def _credentials(router: APIRouter, tokens: set[str], events: Events) -> None:
    @router.post("/v1/oauth2/token")
    async def token(request: Request) -> Response:
        if not request.headers.get("authorization", "").startswith("Basic "):
            return JSONResponse({"error": "invalid_client"}, 401)
        made = f"A21-{uuid4().hex}"
        tokens.add(made)
        return JSONResponse({"access_token": made, "token_type": "Bearer", "expires_in": 32_400})

    @router.get("/v1/notifications/certs/{name}")
    async def certificate(name: str) -> Response:
        if name != events.signer.name:
            return Response(status_code=404)
        return Response(events.signer.certificate, media_type="application/x-pem-file")


def _orders(router: APIRouter, paypal: PayPal, tokens: set[str]) -> None:
    @router.post("/v2/checkout/orders")
    async def create(request: Request) -> Response:
        wanted = await request.json()
        return _answer(request, tokens, lambda key: paypal.create(wanted, key))

    @router.get("/v2/checkout/orders/{order_id}")
    async def read(request: Request, order_id: str) -> Response:
        return _answer(request, tokens, lambda _: (paypal.seen(order_id), 200))

    @router.post("/v2/checkout/orders/{order_id}/capture")
    async def capture(request: Request, order_id: str) -> Response:
        return _answer(request, tokens, lambda key: paypal.take(order_id, key))


def _payments(router: APIRouter, paypal: PayPal, tokens: set[str]) -> None:
    @router.get("/v2/payments/captures/{capture_id}")
    async def captured(request: Request, capture_id: str) -> Response:
        return _answer(request, tokens, lambda _: (paypal.of_capture(capture_id).capture, 200))

    @router.post("/v2/payments/captures/{capture_id}/refund")
    async def refund(request: Request, capture_id: str) -> Response:
        wanted = await request.json()
        return _answer(request, tokens, lambda key: paypal.refund(capture_id, wanted, key))

    @router.get("/v2/payments/refunds/{refund_id}")
    async def refunded(request: Request, refund_id: str) -> Response:
        return _answer(request, tokens, lambda _: (paypal.found_refund(refund_id), 200))


def _pages(router: APIRouter, paypal: PayPal) -> None:
    @router.get("/checkoutnow")
    async def page(token: str) -> HTMLResponse:
        order = paypal.orders.get(token)
        if order is None:
            return show_page("message.html", 404, title="Nothing here", text="There is no order.")
        return show_page("paypal.html", unit=order.unit)

    @router.post("/checkoutnow")
    async def approve(token: str) -> Response:
        try:
            paypal.approve(token)
        except Refusal as refused:
            return show_page("message.html", refused.status, title="No", text=str(refused))
        url = paypal.return_url(token)
        return RedirectResponse(f"{url}{'&' if '?' in url else '?'}token={token}&PayerID=P1", 303)


def _control(router: APIRouter, paypal: PayPal, events: Events) -> None:
    @router.get("/_sandbox/paypal/orders")
    async def listed(custom_id: str) -> Json:
        mine = [one for one in paypal.orders.values() if one.unit["custom_id"] == custom_id]
        return {"data": [one.body | {"tries": one.tries} for one in mine]}

    @router.put("/_sandbox/paypal/orders/{order_id}")
    async def steer(order_id: str, body: Steer) -> Json:
        order = paypal.order(order_id)
        order.taking, order.issue, order.mute = body.capture, body.issue, body.mute
        order.expired = body.expired
        return {"status": "told"}

    @router.post("/_sandbox/paypal/orders/{order_id}/approve")
    async def approve(order_id: str) -> Json:
        paypal.approve(order_id)
        return {"status": "approved"}

    @router.post("/_sandbox/paypal/orders/{order_id}/settle")
    async def settle(order_id: str, body: Settle) -> Json:
        paypal.settle(order_id, body.status)
        return {"status": "settled"}

    @router.post("/_sandbox/paypal/orders/{order_id}/reverse")
    async def reverse(order_id: str) -> Json:
        paypal.reverse(order_id)
        return {"status": "reversed"}

    @router.post("/_sandbox/paypal/orders/{order_id}/repeat")
    async def repeat(order_id: str) -> Json:
        events.repeat(order_id)
        return {"status": "sent"}


def _answer(request: Request, tokens: set[str], act: Any) -> Response:
    """Return the answer of one call with a token of ours."""
    if request.headers.get("authorization", "").removeprefix("Bearer ") not in tokens:
        return JSONResponse({"name": "AUTHENTICATION_FAILURE"}, 401)
    body, status = act(request.headers.get(KEY))
    return JSONResponse(body, status)

"""The product's own API plus two empty routes, to measure the cost of the front door."""

from fastapi import Response

from api.app import create_app
from api.dependencies import BillingCall
from api.routes.base import new_router
from billing.core import logs
from billing.core.settings import load_settings

router = new_router("bench", prefix="/bench")


@router.post("/open")
async def open_post() -> Response:
    """Do nothing, for anybody."""
    return Response(b"{}", media_type="application/json")


@router.post("/auth")
async def auth_post(_: BillingCall) -> Response:
    """Do nothing, for an authenticated caller of a known account."""
    return Response(b"{}", media_type="application/json")


settings = load_settings()
logs.configure(settings, process="bench")
app = create_app(settings)
app.router.routes.extend(router.routes)

"""The product's own API with two empty routes beside, to measure what the door costs."""

from fastapi import Response

from api.app import create_app
from api.dependencies import BillingCall
from api.routes.base import new_router
from billing.core import logs
from billing.core.settings import load_settings

router = new_router("bench", prefix="/bench")


@router.post("/open")
async def open_post() -> Response:
    """Nothing, for anybody."""
    return Response(b"{}", media_type="application/json")


@router.post("/auth")
async def auth_post(_: BillingCall) -> Response:
    """Nothing, for a proven caller of a known account."""
    return Response(b"{}", media_type="application/json")


settings = load_settings()
logs.configure(settings, process="bench")
app = create_app(settings)
app.router.routes.extend(router.routes)

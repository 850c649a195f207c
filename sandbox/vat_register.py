"""A stand-in for the EU's register of VAT ids, which knows only the numbers set in it.

Set by `PUT /_sandbox/vat-register`; kept in memory, because the register moves no money.
"""

from typing import Any, Final
from uuid import uuid4

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

AWAY: Final = "MS_UNAVAILABLE"


class Known(BaseModel):
    """Businesses by VAT id, and whether the registers of their countries answer at all."""

    model_config = ConfigDict(extra="forbid")

    names: dict[str, str] = {}
    away: bool = False


class Question(BaseModel):
    """A VAT id as it is sent to VIES."""

    model_config = ConfigDict(extra="ignore")

    countryCode: str  # noqa: N815 - the register's own name
    vatNumber: str  # noqa: N815 - the register's own name


def routes() -> APIRouter:
    """Return the routes of the register, and of the order that sets its numbers."""
    router = APIRouter()
    known = Known()

    @router.put("/_sandbox/vat-register")
    async def tell(body: Known) -> dict[str, str]:
        known.names.update(body.names)
        known.away = body.away
        return {"status": "told"}

    @router.post("/vies/check-vat-number")
    async def check(body: Question) -> dict[str, Any]:
        if known.away:
            return {"valid": False, "userError": AWAY}
        name = known.names.get(body.countryCode + body.vatNumber)
        return {
            "valid": name is not None,
            "userError": "VALID" if name is not None else "INVALID",
            "name": name or "---",
            "requestIdentifier": f"WAPI{uuid4().hex[:12].upper()}",
        }

    return router

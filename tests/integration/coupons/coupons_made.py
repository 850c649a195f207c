"""Coupons, and how often they were redeemed."""

from typing import Any
from uuid import uuid4

from tests.integration.actors import Actors

Json = dict[str, Any]
CLOCK = "2027-01-01T10:00:00Z"
COUPON = "/billing/subscription/coupon"


async def coupon(actors: Actors, **terms: Any) -> str:
    code = f"C{uuid4().hex[:10].upper()}"
    body = {"code": code, "name": "A coupon"} | terms
    made = await actors.operate("POST", "/admin/coupons", body, status=201)
    assert made["redeemed"] == 0
    return code


async def redeemed(actors: Actors, code: str) -> int:
    found = (await actors.operate("GET", "/admin/coupons?limit=100"))["data"]
    return int(next(one["redeemed"] for one in found if one["code"] == code))

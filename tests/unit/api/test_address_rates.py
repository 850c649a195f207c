"""Callers whose token proves nothing are counted by the address they come from."""

from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from tests.unit.api.conftest import lonely_settings
from tests.unit.api.forging import claims, handmade

PATH = "/api/v1/billing/invoices"


async def status_of(app: FastAPI, address: str, token: str) -> int:
    transport = httpx2.ASGITransport(app=app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.get(PATH, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code


@pytest.mark.parametrize(
    ("addresses", "last"),
    [
        (("2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:a:b:c:d"), 429),
        (("2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"), 401),
        (("fe80::1%one", "fe80::2%one", "fe80::3%two"), 429),
        (("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"), 429),
        (("::ffff:192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3"), 401),
        (("192.0.2.1", "192.0.2.2", "192.0.2.3"), 401),
        (("behind-a-socket",) * 3, 429),
    ],
)
async def test_a_network_of_ipv6_has_one_rate_and_so_has_an_address_of_ipv4(
    addresses: tuple[str, str, str], last: int
) -> None:
    app = create_app(lonely_settings(BILLING_RATE_LIMIT="2/minute"))
    seen = [await status_of(app, address, f"guess-{uuid4()}") for address in addresses]
    assert seen == [401, 401, last]


async def test_invented_key_ids_are_counted_too_while_the_identity_provider_is_away() -> None:
    settings = lonely_settings(
        BILLING_RATE_LIMIT="2/minute", JWT_JWKS_URL="http://127.0.0.1:1/keys", jwt_secret=None
    )
    app = create_app(settings)
    seen = [
        await status_of(
            app, "192.0.2.1", handmade({"typ": "JWT", "alg": "RS256", "kid": uuid4().hex}, claims())
        )
        for _ in range(3)
    ]
    assert seen == [503, 503, 429]

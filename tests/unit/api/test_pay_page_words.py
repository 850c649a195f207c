"""A payer's browser reads words, never JSON, whatever is refused or away."""

from uuid import UUID

import httpx2
import pytest

from api.app import create_app
from billing.core.clock import real_now
from billing.money.payments.pay_links import PayLinks
from tests.unit.api.conftest import lonely_settings


def link() -> str:
    links = PayLinks(lonely_settings())
    return links.url(UUID(int=1), "invoice", UUID(int=2), real_now()).partition("/pay/")[2]


def in_words(answer: httpx2.Response) -> bool:
    is_page = answer.headers["content-type"].startswith("text/html")
    return is_page and "Please try again in a moment." in answer.text


async def test_a_page_without_its_database_looks_again_by_itself(
    client: httpx2.AsyncClient,
) -> None:
    shown = await client.get(f"/pay/{link()}?tries=0&redirect_status=succeeded")
    assert (shown.status_code, shown.headers["retry-after"], in_words(shown)) == (503, "2", True)
    assert '<meta http-equiv="refresh" content="2">' in shown.text
    begun = await client.post(f"/pay/{link()}")
    assert (begun.status_code, begun.headers["retry-after"], in_words(begun)) == (503, "2", True)
    assert f'<form method="post" action="/pay/{link()}">' in begun.text


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_comes_too_often_is_told_in_words_to_wait(method: str) -> None:
    app = create_app(lonely_settings(BILLING_RATE_LIMIT="1/minute"))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        await client.request(method, f"/pay/{link()}")
        refused = await client.request(method, f"/pay/{link()}")
    assert (refused.status_code, in_words(refused)) == (429, True)
    seconds = refused.headers["retry-after"]
    assert 0 < int(seconds) <= 60
    assert (f'content="{seconds}"' in refused.text) == (method == "GET")

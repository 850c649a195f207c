"""A payer's browser reads words, never JSON, whatever is refused or away."""

import re
from types import SimpleNamespace
from uuid import UUID

import httpx2
import pytest
from starlette.requests import Request

from api.app import create_app
from api.pages import pay_page
from billing.core.clock import real_now
from billing.core.errors import ProviderFailure
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


@pytest.mark.parametrize("error", [ProviderFailure("PROVIDER_REFUSED", "No such x"), KeyError()])
def test_a_failure_of_ours_is_no_business_of_the_payer_and_the_page_looks_again(
    error: Exception,
) -> None:
    request = Request({"type": "http", "method": "GET", "path": "/pay/x", "headers": []})
    page = pay_page._not_now(request, error)
    html = bytes(page.body).decode()
    assert page.status_code >= 500
    assert "Please try again in a moment." in html
    assert "No such x" not in html
    assert '<meta http-equiv="refresh" content="10">' in html


def rows(description: str, tax: int, included: int) -> list[str]:
    """The rows of an invoice as its page shows them."""
    line = SimpleNamespace(description=description, amount_minor=2_032)
    total = 2_032 + tax - included
    invoice = SimpleNamespace(
        currency="EUR", discount_minor=0, tax_minor=tax, tax_included_minor=included,
        total_minor=total, outstanding_minor=total,
    )  # fmt: skip
    more = {"invoice": invoice, "lines": [line], "issuer": None}
    state = pay_page.PayPageState("Invoice", "", {"type": "none"}, more=more)
    html = bytes(pay_page._page("pay.html", state).body).decode()
    found = re.findall(r'row">(.*?)</th><td class="number">(.*?)</td>', html)
    return [": ".join(row) for row in found]


@pytest.mark.parametrize(
    ("tax", "included", "seen"),
    [
        (285, 0, ["Tax: 2.85 EUR"]),
        (285, 285, ["Tax included: 2.85 EUR"]),
        (285, 530, ["Tax: -2.45 EUR", "Tax included: 5.30 EUR"]),
        (0, 245, ["Tax: -2.45 EUR", "Tax included: 2.45 EUR"]),
        (0, 0, []),
    ],
)
def test_lines_and_added_tax_come_to_the_total(tax: int, included: int, seen: list[str]) -> None:
    _, *between, total = rows("Pro", tax, included)
    assert (between, total) == (seen, f"Total: {(2_032 + tax - included) / 100:.2f} EUR")


def test_a_name_does_not_turn_the_number_behind_it() -> None:
    hebrew = "\u05d7\u05d1\u05d9\u05dc\u05d4"
    assert rows(f"{hebrew}: 100.00 credits", 0, 0)[0].startswith(f"{hebrew}\u200e: 100.00 credits")
    assert rows("A\u202egnp.exe\u202c \u2066x", 0, 0)[0].startswith("Agnp.exe x: ")

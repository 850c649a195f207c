"""An answer says of our key at Stripe that it is refused, that it is taken, or nothing."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
import stripe

from gateways.stripe_http import LoggingClient

WROTE = ("post", "https://api.stripe.com/v1/customers")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[HTTPStatus], None]:
    """Set the status of Stripe's next answers."""

    def set_status(status: HTTPStatus) -> None:
        async def request_async(*_: Any) -> tuple[bytes, int, dict[str, str]]:
            return b"{}", status, {}

        monkeypatch.setattr(stripe.AIOHTTPClient, "request_async", request_async)

    return set_status


@pytest.mark.parametrize("refusal", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN])
@pytest.mark.parametrize(
    "trouble", [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR]
)
async def test_trouble_at_stripe_says_nothing_of_a_refused_key(
    answer: Callable[[HTTPStatus], None], refusal: HTTPStatus, trouble: HTTPStatus
) -> None:
    client = LoggingClient()
    for status, refuses in (
        (trouble, False), (refusal, True), (trouble, True), (HTTPStatus.OK, False),
    ):  # fmt: skip
        answer(status)
        await client.request_async(*WROTE, {})
        assert client.rights.refuses_key is refuses, status


async def test_a_refused_request_says_that_our_key_may_make_it(
    answer: Callable[[HTTPStatus], None],
) -> None:
    client = LoggingClient()
    for status in (HTTPStatus.FORBIDDEN, HTTPStatus.BAD_REQUEST):
        answer(status)
        await client.request_async(*WROTE, {})
    assert not client.rights.refuses_key

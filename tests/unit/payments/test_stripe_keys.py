"""An answer says of our key at Stripe that it is refused, that it is taken, or nothing."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
import stripe

from gateways import key_rights
from gateways.stripe_http import LoggingClient

HOURLY_SECONDS = 3_600
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


def test_an_object_that_is_asked_for_no_more_says_nothing_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(key_rights, "monotonic", lambda: now, raising=False)
    rights = key_rights.KeyRights()
    rights.note_object("cus_deleted", is_known=False)
    rights.note_object("pi_wanted", is_known=False)
    now += HOURLY_SECONDS + 300
    rights.note_object("pi_wanted", is_known=False)
    assert rights.unknown_object == "cus_deleted", "a halted matter may be about to ask again"
    now += HOURLY_SECONDS
    assert rights.unknown_object == "pi_wanted", "a matter still asks, each hour"
    now += 2 * HOURLY_SECONDS
    assert not rights.refuses_key


def test_an_unknown_object_is_kept_in_mind_however_many_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(key_rights, "monotonic", lambda: now, raising=False)
    rights = key_rights.KeyRights()
    for hour in range(4):
        now = hour * HOURLY_SECONDS
        for number in range(key_rights.MOST_OBJECTS + 1):
            rights.note_object(f"pi_{number:04}", is_known=False)
        assert rights.refuses_key

"""A service that hangs holds up one step at a time, and none for half a minute after it."""

from typing import Any

import httpx2
import pytest
import stripe

from gateways.silence import PAUSE_SECONDS, Silence
from gateways.stripe_tax import StripeTax
from gateways.vat_register import UNANSWERED, Vies
from tests.unit.taxes.test_stripe_tax import ASKED


class _Failing(stripe.HTTPClient):
    name = "stand-in"

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.asked = 0

    async def request_async(self, *_: Any) -> tuple[bytes, int, dict[str, str]]:
        self.asked += 1
        raise self._error


def test_one_call_tries_again_while_the_others_keep_silent() -> None:
    now = [0.0]
    silence = Silence(lambda: now[0])
    assert silence.may_ask()
    assert silence.may_ask()  # nobody waits for another's answer while the service is well
    silence.heard(answered=False)
    now[0] += PAUSE_SECONDS - 1
    assert not silence.may_ask()
    now[0] += 1
    assert [silence.may_ask(), silence.may_ask()] == [True, False]
    silence.heard(answered=True)
    assert [silence.may_ask(), silence.may_ask()] == [True, True]


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (stripe.APIConnectionError("it hangs"), 1),  # type: ignore[no-untyped-call]
        (stripe.InvalidRequestError("no such place", "address"), 2),  # type: ignore[no-untyped-call]
    ],
)
async def test_a_provider_that_hangs_is_not_asked_again_but_one_that_refuses_is(
    error: Exception, asked: int
) -> None:
    wire = _Failing(error)
    taxes = StripeTax(stripe.StripeClient("sk_test_x", http_client=wire, max_network_retries=0))
    assert [await taxes.jurisdictions(ASKED) for _ in range(2)] == [None, None]
    assert wire.asked == asked


async def test_a_register_that_hangs_is_not_asked_again() -> None:
    asked = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        raise httpx2.ReadTimeout("it hangs")

    register = Vies("https://register.example", httpx2.MockTransport(serve))
    assert [await register.check("ATU13585627") for _ in range(2)] == [UNANSWERED, UNANSWERED]
    assert len(asked) == 1

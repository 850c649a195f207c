"""A service that hangs holds up one step at a time, and none for half a minute after it."""

from asyncio import CancelledError
from contextlib import suppress
from typing import Any

import httpx2
import pytest
import stripe

from gateways import silence
from gateways.silence import HANGS_SECONDS, PAUSE_SECONDS, Silence
from gateways.stripe_tax import StripeTax
from gateways.vat_register import UNANSWERED, Vies
from tests.unit.taxes.test_stripe_tax import ASKED


class Clock:
    """The time, which only calls that take some move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(silence.Silence.__init__, "__defaults__", (found,))
    return found


class _Wire(stripe.HTTPClient):
    name = "stand-in"

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds
        self.asked = 0

    async def request_async(self, *_: Any) -> tuple[bytes, int, dict[str, str]]:
        self.asked += 1
        self._clock.now += self._seconds
        raise stripe.APIConnectionError("no answer")  # type: ignore[no-untyped-call]


def test_one_call_tries_again_while_the_others_keep_silent(clock: Clock) -> None:
    kept = Silence()
    # While the service is well, nobody waits for another's answer.
    assert [kept.is_kept(), kept.is_kept()] == [False, False]
    with suppress(CancelledError), kept.asking():
        clock.now += HANGS_SECONDS
        raise CancelledError
    clock.now += PAUSE_SECONDS - 1
    assert kept.is_kept()
    clock.now += 1
    assert [kept.is_kept(), kept.is_kept()] == [False, True]
    with kept.asking():
        pass
    assert [kept.is_kept(), kept.is_kept()] == [False, False]


@pytest.mark.parametrize(("seconds", "asked"), [(HANGS_SECONDS, 1), (HANGS_SECONDS - 1, 2)])
async def test_a_provider_that_hangs_is_not_asked_again_but_one_that_fails_is(
    clock: Clock, seconds: float, asked: int
) -> None:
    wire = _Wire(clock, seconds)
    taxes = StripeTax(stripe.StripeClient("sk_test_x", http_client=wire, max_network_retries=0))
    assert [await taxes.jurisdictions(ASKED) for _ in range(2)] == [None, None]
    assert wire.asked == asked


async def test_a_register_that_hangs_is_not_asked_again(clock: Clock) -> None:
    asked = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        clock.now += HANGS_SECONDS
        raise httpx2.ReadTimeout("it hangs")

    register = Vies("https://register.example", httpx2.MockTransport(serve))
    assert [await register.check("ATU13585627") for _ in range(2)] == [UNANSWERED, UNANSWERED]
    assert len(asked) == 1

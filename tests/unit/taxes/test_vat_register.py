"""The register's answers as VIES gives them, and whatever else may come."""

import json
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from billing.money.taxation.rules import next_check, written
from billing.money.taxation.schemas import VatAnswer
from gateways.vat_register import UNANSWERED, Vies

URL = "https://register.example/rest-api"


async def answer(response: httpx2.Response | Exception) -> VatAnswer:
    asked = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        asked.append((str(request.url), json.loads(request.content)))
        if isinstance(response, Exception):
            raise response
        return response

    found = await Vies(URL, httpx2.MockTransport(serve)).check("ATU13585627")
    body = {"countryCode": "AT", "vatNumber": "U13585627"}
    assert asked == [(f"{URL}/check-vat-number", body)]
    return found


async def test_a_business_that_is_known() -> None:
    body = {"valid": True, "userError": "VALID", "name": "Werkstatt", "requestIdentifier": "W1"}
    known = await answer(httpx2.Response(200, json=body))
    assert known == VatAnswer(is_valid=True, name="Werkstatt", proof="W1")
    hidden = await answer(httpx2.Response(200, json={"valid": True, "name": "---"}))
    assert hidden == VatAnswer(is_valid=True)


async def test_one_that_is_not() -> None:
    body = {"valid": False, "userError": "INVALID", "name": "---"}
    assert await answer(httpx2.Response(200, json=body)) == VatAnswer(is_valid=False)


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, json={"valid": False, "userError": "MS_UNAVAILABLE"}),
        httpx2.Response(200, json={"valid": False, "userError": "GLOBAL_MAX_CONCURRENT_REQ"}),
        httpx2.Response(200, json={"valid": "yes"}),
        httpx2.Response(200, json=["valid"]),
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, text="x" * 70_000),
        httpx2.Response(500),
        httpx2.ConnectError("away"),
        httpx2.ReadTimeout("slow"),
    ],
    ids=str,
)
async def test_one_that_cannot_be_asked_for(
    response: httpx2.Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert await answer(response) == UNANSWERED
    (said,) = [one.getMessage() for one in caplog.records if one.name == "gateways.vat_register"]
    assert said.startswith("the register of VAT ids gave no answer: ")
    assert "13585627" not in said


def test_ids_are_written_in_any_spelling() -> None:
    assert written("de 136.695-976") == "DE136695976"
    assert written("el094259216") == "EL094259216"
    assert written("GR 094259216") == "EL094259216"


def test_the_register_is_asked_soon_then_hourly_then_daily_and_then_no_more() -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    tries = (1, 2, 24, 25, 54, 55)
    gaps = [(later - at) if (later := next_check(at, n)) else None for n in tries]
    soon, hour, day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    assert gaps == [soon, hour, hour, day, day, None]

"""The clock of a test account as operators move it: forward only, and safe to ask again."""

from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from tests.integration.api_app import ACCOUNTS, Api
from workflows import start

AT = "2027-01-01T10:00:00Z"
AIM = "2027-02-01T10:00:00Z"


async def test_a_clock_that_is_not_reached_yet_says_where_it_goes(api: Api) -> None:
    account = await api.new_account(is_test=True, clock_at=AT)
    path, headers = f"{ACCOUNTS}/{account['id']}/clock", api.admin()
    early = await api.client.post(
        path, json={"advance_to": "2026-12-31T00:00:00Z"}, headers=headers
    )
    assert (early.status_code, early.json()["code"]) == (422, "CLOCK_BACKWARDS")
    assert early.json()["detail"].endswith(f"stands at {AT}")


async def test_an_advance_that_temporal_did_not_hear_of_is_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await api.new_account(is_test=True, clock_at=AT)
    path, headers = f"{ACCOUNTS}/{account['id']}/clock", api.admin()

    async def away(*_: Any) -> None:
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    with monkeypatch.context() as patched:
        patched.setattr(start, "walk", away)
        answer = await api.client.post(path, json={"advance_to": AIM}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "TEMPORAL_UNAVAILABLE")
    behind = await api.client.post(path, json={"advance_to": AT}, headers=headers)
    assert behind.json()["detail"].endswith(f"is on its way to {AIM}")
    again = await api.client.post(path, json={"advance_to": AIM}, headers=headers)
    assert (again.status_code, again.json()["target"]) == (202, AIM)

"""The clock of a test account as operators move it: forward only, and safe to ask again."""

from typing import Any
from uuid import uuid4

import pytest
from temporalio.service import RPCError, RPCStatusCode

from billing.core import ids
from billing.platform.accounts import clocks
from tests.integration.actors import instant, wait_for
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


async def test_a_clock_goes_to_the_end_of_the_calendar_and_no_further(api: Api) -> None:
    account = await api.new_account(is_test=True, clock_at="9000-01-01T00:00:00Z")
    path, headers = f"{ACCOUNTS}/{account['id']}/clock", api.admin()
    beyond = await api.client.post(path, json={"advance_days": 3_660}, headers=headers)
    assert (beyond.status_code, beyond.json()["code"]) == (422, "VALIDATION_FAILED")


async def test_a_clock_does_not_begin_before_the_events_of_the_provider_are_due(api: Api) -> None:
    body = {"external_id": f"old-{uuid4()}", "is_test": True, "clock_at": "1999-12-31T23:59:59Z"}
    old = await api.client.post(ACCOUNTS, json=body, headers=api.admin())
    assert old.status_code == 422
    assert [one["field"] for one in old.json()["errors"]] == ["clock_at"]


async def test_an_advance_that_temporal_did_not_hear_of_is_made_by_the_sweep(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await api.new_account(is_test=True, clock_at=AT)
    path, headers = f"{ACCOUNTS}/{account['id']}/clock", api.admin()

    async def away(*_: Any) -> None:
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    with monkeypatch.context() as patched:
        patched.setattr(start, "walk", away)
        answer = await api.client.post(path, json={"advance_to": AIM}, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (202, "advancing")
    behind = await api.client.post(path, json={"advance_to": AT}, headers=headers)
    assert behind.json()["code"] == "CLOCK_BACKWARDS"
    assert behind.json()["detail"].endswith(AIM)

    async def arrived() -> bool:
        clock = await api.client.get(path, headers=headers)
        return bool(clock.json()["clock_at"] == AIM)

    await wait_for(arrived, "the sweep starts the walk")


async def test_a_clock_that_cannot_go_on_is_named_with_its_reason(api: Api) -> None:
    account = await api.new_account(is_test=True, clock_at=AT)
    async with api.database.operator() as connection:
        await clocks.block(connection, ids.decode(ids.ACCOUNT, account["id"]), "sub_1 is parked")
        assert f"{account['id']}: sub_1 is parked" in await clocks.blocked(connection, 50)
        await connection.rollback()


async def test_a_clock_that_walks_on_is_blocked_no_longer(api: Api) -> None:
    """It was aimed again while its walk waited for a busy matter, which then blocked it."""
    account = await api.new_account(is_test=True, clock_at=AT)
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    async with api.database.operator() as connection:
        await clocks.block(connection, account_id, "sub_1 is still busy")
        moved = await clocks.move(connection, account_id, instant(AIM))
        assert (moved.clock_status, moved.clock_blocked) == ("advancing", None)
        await connection.rollback()


async def test_an_advance_is_done_once_per_key_however_often_it_is_sent(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await api.new_account(is_test=True, clock_at=AT)
    path, once = f"{ACCOUNTS}/{account['id']}/clock", {"Idempotency-Key": str(uuid4())}

    async def advance(days: int, key: dict[str, str] = once) -> tuple[int, str]:
        sent = {"advance_days": days}
        answer = await api.client.post(path, json=sent, headers=api.admin() | key)
        seen = answer.json()
        return answer.status_code, seen.get("code") or seen["target"] or seen["clock_at"]

    async def away(*_: Any) -> None:
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    with monkeypatch.context() as patched:
        patched.setattr(start, "walk", away)
        assert await advance(31) == (202, AIM)
    assert [await advance(31) for _ in range(3)] == 3 * [(202, AIM)], "an answer may be lost"
    assert await advance(30) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert await advance(28, {}) == (202, "2027-03-01T10:00:00Z")
    assert (await advance(31))[1] == "2027-03-01T10:00:00Z", "the clock as it stands now"
    history = await api.client.get(
        f"{ACCOUNTS}/{account['id']}/audit?action=clock.aimed", headers=api.admin()
    )
    assert len(history.json()["data"]) == 2

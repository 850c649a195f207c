"""No event is lost and none is sent as another: whatever the API, the disk and the caller do."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from clients.python.tests.conftest import NewClient, until
from clients.python.tests.stand_in import StandIn, problem
from durable_billing.answers import Rejected
from durable_billing.client import BillingClient
from durable_billing.errors import (
    BillingClientError,
    BillingProblem,
    BillingUnreachable,
    ClientClosed,
    SpoolBroken,
    SpoolFull,
)
from durable_billing.events import Use
from durable_billing.spool import Spool


def record(client: BillingClient, count: int) -> set[str]:
    return set(client.record_many([(1, {"product_id": "gpt-4"}) for _ in range(count)]))


def test_what_is_recorded_arrives_in_batches(new_client: NewClient) -> None:
    api = StandIn()
    client = new_client(api)
    ids = record(client, 2_500) | {client.record("1.5", product_id="gpt-4")}
    assert client.flush(10)
    assert api.rows.keys() == ids
    assert max(api.sizes) <= 1_000
    assert client.status().waiting == 0


def test_flushing_an_empty_spool_waits_for_nothing_recorded_later(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_client(StandIn(*[httpx2.ConnectError("down")] * 10_000))
    last = Spool.last

    def last_then_record(spool: Spool) -> int:
        found = last(spool)
        client.record(1, product_id="gpt-4")
        return found

    monkeypatch.setattr(Spool, "last", last_then_record)
    assert client.flush(1)
    assert client.status().waiting == 1
    assert not client.flush(0.2)


def test_many_threads_may_record_at_once(new_client: NewClient) -> None:
    api = StandIn()
    client = new_client(api)
    threads = [threading.Thread(target=record, args=(client, 50)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(10)
    assert len(api.rows) == 400


def test_a_batch_stays_under_the_apis_limit_of_bytes(new_client: NewClient) -> None:
    api = StandIn()
    client = new_client(api)
    use = Use(product_id="gpt-4", usage_details={"prompt": "x" * 16_000})
    client.record_many([(1, use)] * 100)
    assert client.flush(10)
    assert len(api.rows) == 100
    assert max(len(request.content) for request in api.requests) < 1_048_576


@pytest.mark.parametrize(
    "trouble",
    [
        httpx2.ConnectError("down"),
        httpx2.ReadTimeout("slow"),
        problem(503, "DATABASE_UNAVAILABLE"),
        problem(500, "INTERNAL"),
        problem(429, "RATE_LIMITED"),
        problem(401, "UNAUTHENTICATED"),
        problem(403, "FORBIDDEN"),
        problem(400, "BAD_REQUEST"),
        httpx2.Response(404, text="no such page"),
        httpx2.Response(400, text="a proxy's page"),
        httpx2.Response(200, text="a proxy's page"),
        httpx2.Response(200, json={"results": []}),
    ],
    ids=str,
)
def test_an_event_outlasts_every_trouble(
    new_client: NewClient, trouble: httpx2.Response | Exception
) -> None:
    api = StandIn(trouble, trouble)
    client = new_client(api)
    ids = record(client, 3)
    assert client.flush(10)
    assert api.rows.keys() == ids
    assert client.status().trouble is None
    assert client.rejected() == []


def test_events_wait_for_a_token_and_the_status_says_so(new_client: NewClient) -> None:
    away = threading.Event()
    away.set()

    def token() -> str:
        if away.is_set():
            raise RuntimeError("the vault is away")
        return "t"

    api = StandIn()
    client = new_client(api, token=token)
    ids = record(client, 3)
    assert not client.flush(0.2)
    trouble = client.status().trouble
    assert isinstance(trouble, BillingUnreachable)
    assert str(trouble) == "no token: RuntimeError: the vault is away"
    with pytest.raises(BillingUnreachable, match="no token"):
        client.calculate("gpt-4", 1000)
    away.clear()
    assert client.flush(10)
    assert api.rows.keys() == ids
    assert client.status().trouble is None


def test_a_fault_nobody_thought_of_is_told_until_it_is_over(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    client = new_client(StandIn())
    with monkeypatch.context() as broken:
        broken.setattr(Spool, "take", fail)
        until(lambda: str(client.status().trouble) == "RuntimeError: a fault")
    until(lambda: client.status().trouble is None)


def test_a_lost_answer_makes_no_second_use(new_client: NewClient) -> None:
    api = StandIn()
    api.scripted = [api.record_then_drop]
    client = new_client(api)
    ids = record(client, 5)
    assert client.flush(10)
    assert set(api.rows) == ids
    assert set(api.rows.values()) == {1}


def test_retry_after_is_waited_out(new_client: NewClient) -> None:
    api = StandIn(problem(429, "RATE_LIMITED", **{"Retry-After": "1"}))
    client = new_client(api)
    begun = time.monotonic()
    record(client, 1)
    assert not client.flush(0.3)
    assert isinstance(client.status().trouble, BillingProblem)
    assert client.flush(10)
    assert time.monotonic() - begun >= 1.0


def test_rejected_events_are_told_and_kept_until_sent_again(new_client: NewClient) -> None:
    told: list[Rejected] = []
    api = StandIn()
    api.refuse = lambda row: "INSUFFICIENT_CREDITS" if row["event_id"] == "poor" else None
    client = new_client(api, on_rejected=told.append)
    client.record(1, product_id="gpt-4", event_id="poor")
    client.record(1, product_id="gpt-4", event_id="rich")
    assert client.flush(10)
    (kept,) = client.rejected()
    assert (kept.event_id, kept.code) == ("poor", "INSUFFICIENT_CREDITS")
    assert kept.event["usage_amount"] == "1"
    assert set(api.rows) == {"rich"}
    api.refuse = lambda row: None
    assert client.send_again([kept.number]) == 1
    assert client.flush(10)
    assert (set(api.rows), client.rejected()) == ({"rich", "poor"}, [])
    assert [one.event_id for one in told] == ["poor"]


def test_a_callback_that_fails_stops_nothing(new_client: NewClient) -> None:
    def fail(rejected: Rejected) -> None:
        raise RuntimeError(rejected.code)

    api = StandIn()
    api.refuse = lambda row: "EVENT_TOO_OLD" if row["event_id"] == "old" else None
    client = new_client(api, on_rejected=fail)
    client.record(1, product_id="gpt-4", event_id="old")
    assert client.flush(10)
    client.record(1, product_id="gpt-4", event_id="new")
    assert client.flush(10)
    assert set(api.rows) == {"new"}
    assert client.forget([client.rejected()[0].number]) == 1
    assert client.status().rejected == 0


def test_one_row_that_spoils_its_batch_fails_alone(new_client: NewClient) -> None:
    class Strict(StandIn):
        def record(self, request: httpx2.Request) -> httpx2.Response:
            if b'"bad"' in request.content:
                return problem(400, "INVALID_JSON")
            return super().record(request)

    api = Strict()
    client = new_client(api)
    ids = record(client, 200)
    client.record(1, product_id="gpt-4", event_id="bad")
    ids |= record(client, 200)
    assert client.flush(10)
    assert api.rows.keys() == ids
    assert [(one.event_id, one.code) for one in client.rejected()] == [("bad", "INVALID_JSON")]


def test_the_spool_has_a_size_and_says_when_it_is_full(new_client: NewClient) -> None:
    api = StandIn(*[httpx2.ConnectError("down")] * 10_000)
    client = new_client(api, max_spool_bytes=200_000)
    kept = 0

    def record_on_and_on() -> None:
        nonlocal kept
        while kept < 1_000:
            client.record(1, product_id="gpt-4", usage_details={"x": "y" * 1_000})
            kept += 1

    with pytest.raises(SpoolFull, match="200000 bytes"):
        record_on_and_on()
    assert 100 < kept < 250
    api.scripted.clear()
    assert client.flush(10)
    assert len(api.rows) == kept
    client.record(1, product_id="gpt-4")


def test_a_disk_that_fills_up_within_a_store_is_told_as_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=1_000_000, survives_power_loss=False)

    def filling() -> Iterator[tuple[str, bytes]]:
        yield "stored", b"{}"
        spool._database.execute("ROLLBACK")  # as SQLite does by itself
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise full

    with pytest.raises(SpoolFull):
        spool.add(filling())
    assert spool.add([("next", b"{}")])
    spool.close()


def test_what_was_not_sent_is_sent_by_the_next_client(new_client: NewClient) -> None:
    away = StandIn(*[httpx2.ConnectError("down")] * 10_000)
    first = new_client(away)
    ids = record(first, 10)
    assert not first.close(0.05)
    assert not first.close(0.05), "ten are left"
    with pytest.raises(ClientClosed):
        first.record(1, product_id="gpt-4")
    api = StandIn()
    assert new_client(api).flush(10)
    assert api.rows.keys() == ids


def test_of_two_clients_on_one_spool_only_one_sends(new_client: NewClient) -> None:
    first, second = StandIn(), StandIn()
    sending = new_client(first)
    sending.record(1, product_id="gpt-4")
    assert sending.flush(10)
    keeping = new_client(second)
    record(keeping, 10)
    assert keeping.flush(10)
    assert (len(first.rows), len(second.requests)) == (11, 0)
    sending.close()
    record(keeping, 1)
    assert keeping.flush(10)
    assert len(second.rows) == 1


def test_only_its_owner_may_read_the_spool(new_client: NewClient, tmp_path: Path) -> None:
    new_client(StandIn()).record(1, product_id="gpt-4")
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_a_file_that_is_no_spool_is_refused(new_client: NewClient, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("something else" * 100)
    with pytest.raises(SpoolBroken, match=r"other\.db"):
        new_client(StandIn(), spool=tmp_path / "other.db")


def test_a_sender_that_cannot_take_its_turn_says_why(new_client: NewClient, tmp_path: Path) -> None:
    (tmp_path / "spool.db-sender").mkdir()
    client = new_client(StandIn())
    client.record(1, product_id="gpt-4")
    assert not client.flush(0.2)
    assert isinstance(client.status().trouble, SpoolBroken)


def test_without_a_spool_recording_in_the_background_is_refused(new_client: NewClient) -> None:
    client = new_client(StandIn(), spool=None)
    with pytest.raises(BillingClientError, match="give the client a spool"):
        client.record(1, product_id="gpt-4")


def test_a_forked_process_is_told_to_open_its_own_client(tmp_path: Path) -> None:
    """The child must not touch the parent's SQLite connection, which would spoil its locks."""
    source = Path(sys.modules[BillingClient.__module__].__file__ or "").parent.parent
    script = f"""
import os, sys
sys.path.insert(0, {str(source)!r})
from durable_billing.client import BillingClient
from durable_billing.errors import ClientClosed
client = BillingClient("http://127.0.0.1:9", "t", spool={str(tmp_path / "spool.db")!r})
client.record(1, product_id="gpt-4")
if os.fork() == 0:
    try:
        client.record(1, product_id="gpt-4")
    except ClientClosed:
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]), client.status().waiting, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["7", "1"], done.stderr

"""Events that the API refuses for a temporary reason: they wait and block no others."""

import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from clients.python.tests.conftest import NewClient, until
from clients.python.tests.stand_in import StandIn, problem
from durable_billing import connection
from durable_billing.answers import Rejected, Verdict
from durable_billing.client import BillingClient
from durable_billing.errors import EventsPutOff
from durable_billing.events import Use
from durable_billing.spool import Spool

AWAY = "SOMETHING_UNAVAILABLE"
"""A code that this client does not know."""


def keep(client: BillingClient, product: str, count: int) -> set[str]:
    return set(client.record_many([(1, {"product_id": product})] * count))


@pytest.fixture
def api() -> StandIn:
    """An API that cannot price product "new" for now, and product "none" ever."""
    made = StandIn()
    made.passing = {AWAY}
    codes = {"new": AWAY, "none": "PRODUCT_PRICING_NOT_FOUND"}
    made.refuse = lambda row: codes.get(row["product_id"])
    return made


def test_an_event_with_a_verdict_of_a_later_api_is_kept(new_client: NewClient) -> None:
    later = httpx2.Response(200, json={"results": [{"row": 0, "status": "queued"}]})
    api = StandIn(*[later] * 10_000)
    client = new_client(api)
    kept = keep(client, "sold", 1)
    assert not client.flush(0.3)
    assert str(client.status().trouble) == "UNKNOWN_STATUS: the API says queued"
    api.scripted.clear()
    assert client.flush(10)
    assert api.rows.keys() == kept


def test_events_put_off_wait_while_others_are_answered(api: StandIn, new_client: NewClient) -> None:
    told: list[Rejected] = []
    client = new_client(api, on_rejected=told.append)
    waiting = keep(client, "new", 3)
    never, sold = keep(client, "none", 1), keep(client, "sold", 2)
    assert not client.flush(0.3)
    status = client.status()
    assert (status.waiting, status.rejected) == (3, 1)
    assert isinstance(status.trouble, EventsPutOff)
    assert str(status.trouble) == f"{AWAY}: so it is"
    assert {one.event_id for one in told} == never
    api.refuse = lambda row: None
    assert client.flush(10)
    assert dict(api.rows) == dict.fromkeys(waiting | sold, 1)
    until(lambda: client.status().trouble is None)


def test_batches_of_events_put_off_hold_up_nobody_behind_them(
    api: StandIn, new_client: NewClient
) -> None:
    client = new_client(api)
    waiting = keep(client, "new", 2_500)
    sold = keep(client, "sold", 5)
    until(lambda: api.rows.keys() == sold)
    sold |= keep(client, "sold", 5)
    until(lambda: api.rows.keys() == sold)
    until(lambda: client.status().waiting == 2_500)  # the last answer is on its way
    assert client.rejected() == []
    api.refuse = lambda row: None
    assert client.flush(10)
    assert dict(api.rows) == dict.fromkeys(waiting | sold, 1)


def test_events_put_off_are_not_asked_for_again_and_again(
    api: StandIn, new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_PAUSE_SECONDS", 20.0)
    client = new_client(api)
    keep(client, "new", 3)
    until(lambda: len(api.requests) == 1)
    sold = keep(client, "sold", 1)
    until(lambda: api.rows.keys() == sold)
    time.sleep(0.1)
    assert api.sizes == [3, 1]


def test_the_next_process_sends_what_was_put_off(api: StandIn, new_client: NewClient) -> None:
    first = new_client(api)
    waiting = keep(first, "new", 2)
    assert not first.close(0.2)
    fine = StandIn()
    assert new_client(fine).flush(10)
    assert fine.rows.keys() == waiting


def test_an_event_of_a_fast_clock_is_recorded_once_its_time_has_come(new_client: NewClient) -> None:
    api = StandIn()
    api.refuse = lambda row: "EVENT_IN_FUTURE"
    client = new_client(api)
    early = keep(client, "sold", 2)
    until(lambda: isinstance(client.status().trouble, EventsPutOff))
    assert not client.flush(0.2)
    assert (client.status().waiting, client.rejected()) == (2, [])
    api.refuse = lambda row: None
    assert client.flush(10)
    assert dict(api.rows) == dict.fromkeys(early, 1)


def test_an_event_that_is_dated_days_ahead_is_rejected(new_client: NewClient) -> None:
    api = StandIn()
    api.refuse = lambda row: "EVENT_IN_FUTURE"
    client = new_client(api)
    client.record(1, product_id="sold", occurred_at=datetime.now(UTC) + timedelta(days=2))
    assert client.flush(10)
    assert [one.code for one in client.rejected()] == ["EVENT_IN_FUTURE"]


def test_a_row_past_the_spool_says_that_it_may_come_again(
    api: StandIn, new_client: NewClient
) -> None:
    rows = [{"event_id": name, "product_id": name} for name in ("new", "none", "sold")]
    assert new_client(api).record_rows(rows) == [
        Verdict("rejected", AWAY, "so it is", retry=True),
        Verdict("rejected", "PRODUCT_PRICING_NOT_FOUND", "so it is"),
        Verdict("recorded"),
    ]


def test_a_row_that_the_api_fails_on_holds_up_no_other(new_client: NewClient) -> None:
    api = StandIn()

    def fail_on_poison(request: httpx2.Request) -> httpx2.Response | None:
        api.scripted.append(fail_on_poison)
        return problem(500, "INTERNAL") if b'"poison"' in request.content else None

    api.scripted = [fail_on_poison]
    client = new_client(api)
    before, (bad,), after = (
        keep(client, "sold", 30),
        keep(client, "poison", 1),
        keep(client, "x", 9),
    )
    assert not client.flush(1)
    assert dict(api.rows) == dict.fromkeys(before | after, 1)
    assert (client.status().waiting, client.rejected()) == (1, [])
    api.scripted = []
    assert client.flush(10)
    assert api.rows[bad] == 1


def test_many_rows_that_the_api_fails_on_hold_up_no_other(new_client: NewClient) -> None:
    class Poisoned(StandIn):
        def record(self, request: httpx2.Request) -> httpx2.Response:
            if b'"poison"' in request.content:
                return problem(500, "INTERNAL")
            return super().record(request)

    api = Poisoned()
    client = new_client(api)
    part = [Use(product_id="poison"), *[Use(product_id="sold")] * 143]
    ids = client.record_many([(1, use) for use in part * 7])
    sold = {event_id for place, event_id in enumerate(ids) if place % len(part)}
    until(lambda: api.rows.keys() == sold)
    until(lambda: client.status().waiting == 7)
    assert client.rejected() == []


def test_an_api_that_fails_on_everything_is_not_asked_about_every_row(
    new_client: NewClient,
) -> None:
    api = StandIn(*[problem(500, "INTERNAL")] * 60)
    client = new_client(api)
    ids = keep(client, "sold", 900)
    assert client.flush(10)
    assert dict(api.rows) == dict.fromkeys(ids, 1)
    assert len(api.requests) < 100


def test_a_flush_reads_no_more_for_all_the_events_that_wait(
    api: StandIn, new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_client(api)
    kept = keep(client, "sold", 3)
    monkeypatch.delattr(Spool, "waiting")  # it counts them
    assert client.flush(10)
    assert api.rows.keys() == kept

"""One odd event at the provider keeps no other one from being heard."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from billing.core.clock import real_now
from billing.core.errors import Invalid, Unavailable
from billing.platform.provider_inbox.webhooks import parse, read
from gateways.events import readable
from gateways.provider import EventPage
from gateways.stripe import StripeGateway

NOW = int(real_now().timestamp())
UNTIL = datetime.fromtimestamp(NOW + 10**6, UTC)


def event(name: str, created: Any, **subject: Any) -> dict[str, Any]:
    return {
        "id": name, "type": "payment_intent.succeeded", "created": created, "object": "event",
        "data": {"object": {"id": f"pi_{name}", "object": "payment_intent"} | subject},
    }  # fmt: skip


class Events:
    """The provider's list of events; a page with an unreadable one is an answer nobody can read."""

    def __init__(self, known: Sequence[dict[str, Any]], unreadable: int | None = None) -> None:
        self.known, self.unreadable = known, unreadable
        self.status = 200
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, method: str, path: str, **asked: Any) -> SimpleNamespace:
        assert (method, path) == ("get", "/v1/events")
        self.asked.append(asked)
        first, last = asked["created"]["gte"], asked["created"]["lte"]
        if self.unreadable is not None and first <= self.unreadable <= last:
            raise stripe.APIError("Invalid response body from API", http_status=self.status)
        there = [
            one
            for one in sorted(self.known, key=lambda one: (-one["created"], one["id"]))
            if first <= one["created"] <= last and one["type"] in asked["types"]
        ]
        names = [one["id"] for one in there]
        begin = names.index(asked["starting_after"]) + 1 if "starting_after" in asked else 0
        page = there[begin:][: asked["limit"]]
        return SimpleNamespace(data={"data": page, "has_more": len(there) > begin + len(page)})


def gateway(events: Events, monkeypatch: pytest.MonkeyPatch) -> StripeGateway:
    made = StripeGateway("sk_test_x", "http://127.0.0.1:1")
    monkeypatch.setattr(made._client, "raw_request_async", events)
    return made


async def heard(asked: StripeGateway, ago: int, until: datetime = UNTIL) -> list[EventPage]:
    since = datetime.fromtimestamp(NOW - ago, UTC)
    return [page async for page in asked.events_between(since, until)]


def names(pages: Sequence[EventPage]) -> list[str]:
    return [one.event_id for page in pages for one in readable(page.events)]


async def test_an_event_that_cannot_be_read_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [event(f"evt_{ago}", NOW - ago) for ago in (7000, 4000, 3001, 2999, 10)]
    asked = gateway(Events(known, unreadable=NOW - 3000), monkeypatch)
    assert names(await heard(asked, 7200)) == [
        "evt_7000", "evt_4000", "evt_3001", "evt_2999", "evt_10",
    ]  # fmt: skip


async def test_a_provider_that_is_away_is_not_asked_in_halves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = Events([], unreadable=NOW)
    events.status = 502
    with pytest.raises(Unavailable):
        await heard(gateway(events, monkeypatch), 60)
    assert len(events.asked) == 1


async def test_odd_fields_are_left_out_and_the_rest_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = event("evt_1", NOW - 5, metadata={"note": "a\0b\ud800", "nan": float("nan")})
    broken = event("evt_2", NOW - 4) | {"data": None}
    asked = gateway(Events([odd, broken, event("evt_3", NOW)]), monkeypatch)
    found = [one for page in await heard(asked, 60) for one in readable(page.events)]
    assert [one.event_id for one in found] == ["evt_1", "evt_3"]
    subject: Any = found[0].payload["data"]
    assert subject["object"]["metadata"] == {"note": "a\ufffdb\ufffd", "nan": None}


@pytest.mark.parametrize("created", [10**18, float("inf"), float("nan"), "yesterday", None])
def test_an_impossible_time_is_no_time(created: Any) -> None:
    assert read(event("evt_1", created)).created_at is None


def test_an_event_nested_too_deep_is_set_aside_with_its_reason() -> None:
    deep = b'{"id": "evt_9", "type": "a.b", "data": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    aside = parse(deep)
    assert (aside.event_id, aside.type) == ("evt_9", "a.b")
    assert aside.fault == "nested too deep to be read"


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=15,
        ),
    ),
    st.booleans(),
)
def test_a_text_that_is_taken_for_plain_has_nothing_to_replace(
    metadata: dict[str, Any], ascii_only: bool
) -> None:
    sent = event("evt_1", NOW, metadata=metadata)
    try:
        body = json.dumps(sent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return  # no text
    assert repr(parse(body).payload) == repr(read(json.loads(body)).payload)


@pytest.mark.parametrize("body", ["{}".encode("utf-16"), b"\xff", b"[" * 9_000, b'{"id": 1}'])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="is not an event"):
        parse(body)

"""The webhook route takes bodies that Stripe signed within five minutes, each once [W1]."""

import base64
import hmac
import json
import re
import time
from collections.abc import Callable
from uuid import uuid4

import httpx2
import pytest

from sandbox.control import Json
from tests.integration.actors import API, Actors

DOOR = f"{API}/webhooks/stripe"


class Envelope:
    """One event about nobody in particular, and the right signature for it."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.id = f"evt_{uuid4().hex}"
        self.at = int(time.time())
        subject = {"id": "pi_nobody", "object": "payment_intent", "metadata": {}}
        self.event: Json = {
            "id": self.id,
            "object": "event",
            "type": "payment_intent.succeeded",
            "created": self.at,
            "data": {"object": subject},
        }
        self.body = json.dumps(self.event).encode()

    def plain(self, key: bytes, what: bytes, hash_name: str = "sha256") -> str:
        """A hex HMAC of anything."""
        return hmac.new(key, what, hash_name).hexdigest()

    def mac(self, *, at: object = None, secret: str | None = None) -> str:
        """The hex HMAC as Stripe makes it, with one part exchanged."""
        stamp = self.at if at is None else at
        return self.plain((secret or self.secret).encode(), f"{stamp}.".encode() + self.body)

    def header(self, at: object = None) -> str:
        """`t=…,v1=…`"""
        stamp = self.at if at is None else at
        return f"t={stamp},v1={self.mac(at=stamp)}"


Forgery = Callable[[Envelope], tuple[str | None, bytes]]
FORGERIES: dict[str, Forgery] = {
    "no signature": lambda e: (None, e.body),
    "an empty signature": lambda e: ("", e.body),
    "another secret": lambda e: (f"t={e.at},v1={e.mac(secret='whsec_other')}", e.body),
    "the secret without its prefix": lambda e: (
        f"t={e.at},v1={e.mac(secret=e.secret.removeprefix('whsec_'))}", e.body),
    "an empty secret": lambda e: (
        f"t={e.at},v1={e.plain(b'', f'{e.at}.'.encode() + e.body)}", e.body),
    "a changed body": lambda e: (e.header(), e.body.replace(b"pi_nobody", b"pi_other_")),
    "a body said anew": lambda e: (e.header(), json.dumps(e.event, separators=(",", ":")).encode()),
    "a line more": lambda e: (e.header(), e.body + b"\n"),
    "a byte order mark": lambda e: (e.header(), b"\xef\xbb\xbf" + e.body),
    "no body": lambda e: (e.header(), b""),
    "301 seconds ago": lambda e: (e.header(e.at - 302), e.body),
    "301 seconds ahead": lambda e: (e.header(e.at + 302), e.body),
    "three days ago": lambda e: (e.header(e.at - 3 * 86_400), e.body),
    "the time in milliseconds": lambda e: (e.header(e.at * 1000), e.body),
    "a time with a fraction": lambda e: (e.header(f"{e.at}.0"), e.body),
    "a time with a sign": lambda e: (e.header(f"+{e.at}"), e.body),
    "a negative time": lambda e: (e.header(-e.at), e.body),
    "a time that is a word": lambda e: (e.header("now"), e.body),
    "a time in hexadecimal": lambda e: (e.header(hex(e.at)), e.body),
    "another time than the signed one": lambda e: (f"t={e.at - 1},v1={e.mac()}", e.body),
    "no time": lambda e: (f"v1={e.mac()}", e.body),
    "two times, the wrong one last": lambda e: (f"t={e.at},t={e.at - 9},v1={e.mac()}", e.body),
    "version 0 only": lambda e: (f"t={e.at},v0={e.mac()}", e.body),
    "version 2 only": lambda e: (f"t={e.at},v2={e.mac()}", e.body),
    "no version": lambda e: (f"t={e.at},{e.mac()}", e.body),
    "an empty version 1": lambda e: (f"t={e.at},v1=", e.body),
    "half a signature": lambda e: (f"t={e.at},v1={e.mac()[:32]}", e.body),
    "a signature and more": lambda e: (f"t={e.at},v1={e.mac()}00", e.body),
    "capital letters": lambda e: (f"t={e.at},v1={e.mac().upper()}", e.body),
    "in base 64": lambda e: (
        f"t={e.at},v1={base64.b64encode(bytes.fromhex(e.mac())).decode()}", e.body),
    "letters beyond ASCII": lambda e: (f"t={e.at},v1={'é' * 64}", e.body),
    "the body signed without the time": lambda e: (
        f"t={e.at},v1={e.plain(e.secret.encode(), e.body)}", e.body),
    "an older hash": lambda e: (
        f"t={e.at},v1={e.plain(e.secret.encode(), f'{e.at}.'.encode() + e.body, 'sha1')}", e.body),
}  # fmt: skip


async def knock(actors: Actors, header: str | None, body: bytes) -> httpx2.Response:
    """Post to the door as anybody can."""
    headers = {b"Content-Type": b"application/json"}
    if header is not None:
        headers[b"Stripe-Signature"] = header.encode("latin-1")
    return await actors.client.post(DOOR, content=body, headers=headers)


async def rows(actors: Actors, event_id: str) -> list[Json]:
    return await actors.sql(
        "SELECT status, deliveries, type FROM stripe_webhook_events WHERE stripe_event_id = %(id)s",
        id=event_id,
    )


def test_the_table_is_as_long_as_the_rule_asks() -> None:
    assert len(FORGERIES) >= 30


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_event_is_refused_and_leaves_no_trace(actors: Actors, name: str) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    answer = await knock(actors, *FORGERIES[name](envelope))
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_SIGNATURE"), answer.text
    assert await rows(actors, envelope.id) == []


async def test_a_signed_event_is_kept_once_however_often_it_comes(actors: Actors) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    for _ in range(3):
        answer = await knock(actors, envelope.header(), envelope.body)
        assert answer.status_code == 200
    (kept,) = await rows(actors, envelope.id)
    assert (kept["status"], kept["deliveries"]) == ("unmatched", 3)


@pytest.mark.parametrize("shift", [-298, 298])
async def test_clocks_may_be_five_minutes_apart(actors: Actors, shift: int) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    answer = await knock(actors, envelope.header(envelope.at + shift), envelope.body)
    assert answer.status_code == 200


async def test_one_of_several_signatures_is_enough(actors: Actors) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    header = f"t={envelope.at},v1={envelope.mac(secret='whsec_old')},v1={envelope.mac()},v0=1"
    assert (await knock(actors, header, envelope.body)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b"null", b'"evt"', b'{"id":"evt_1"}', b"\xff\xfe",
     b'{"id":1,"type":2,"created":"x","data":{"object":{}}}',
     b'{"id":"evt_1","type":"a.b","created":1,"data":{"object":[]}}',
     b'{"id":"evt_1","type":"a.b","created":1,"data":null}',
     b'{"object":"v2.core.event","id":"evt_1","type":"v2.core.account"}'],
)  # fmt: skip
async def test_a_signed_body_that_is_no_event_is_refused_as_such(
    actors: Actors, body: bytes
) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    envelope.body = body
    answer = await knock(actors, envelope.header(), body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_PAYLOAD"), answer.text


ODD: dict[str, Callable[[bytes], bytes]] = {
    "a NUL": lambda body: body.replace(b"pi_nobody", b"pi_\\u0000"),
    "half a character": lambda body: body.replace(b"pi_nobody", b"pi_\\ud800"),
    "a time beyond every calendar": lambda body: _created(body, b"1000000000000000000"),
    "a time without end": lambda body: _created(body, b"1e400"),
    "a time that is no number": lambda body: _created(body, b"NaN"),
    "five thousand levels": lambda body: body.replace(
        b'"metadata": {}', b'"metadata": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
}  # fmt: skip


def _created(body: bytes, value: bytes) -> bytes:
    return re.sub(rb'"created": \d+', b'"created": ' + value, body)


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_event_is_kept_and_keeps_nobody_from_theirs(actors: Actors, name: str) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    envelope.body = ODD[name](envelope.body)
    for _ in range(2):
        assert (await knock(actors, envelope.header(), envelope.body)).status_code == 200
    (kept,) = await rows(actors, envelope.id)
    parked = name == "five thousand levels"
    assert (kept["status"], kept["deliveries"]) == ("parked" if parked else "unmatched", 2)


async def test_an_event_of_a_kind_nobody_knows_is_kept_and_left_alone(actors: Actors) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    envelope.event |= {"type": "galaxy.collapsed", "api_version": "1999-01-01"}
    envelope.body = json.dumps(envelope.event).encode()
    assert (await knock(actors, envelope.header(), envelope.body)).status_code == 200
    (kept,) = await rows(actors, envelope.id)
    assert (kept["status"], kept["type"]) == ("ignored", "galaxy.collapsed")


async def test_a_giant_is_turned_away_before_it_is_read(actors: Actors) -> None:
    envelope = Envelope(actors.stack.stripe_webhook_secret)
    body = b'{"id":"' + b"x" * 10_000_000 + b'"}'
    answer = await knock(actors, envelope.header(), body)
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")

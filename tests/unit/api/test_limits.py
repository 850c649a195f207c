"""Bounds before parsing: bytes, depth, unstorable text, requests per minute."""

import json
from collections.abc import AsyncIterator
from typing import Annotated

import httpx2
import pytest
from fastapi import FastAPI, Query
from starlette.types import Message

from api.app import create_app
from api.edge.request_limits import RequestLimitMiddleware, json_fault
from api.identity.request_windows import RateLimit, RateLimited, class_of, may_move_money
from tests.unit.api.conftest import lonely_settings
from tests.unit.api.forging import signed

ACCOUNTS = "/api/v1/admin/accounts"
MEGABYTE = 1_048_576


def authorized() -> dict[str, str]:
    return {"Authorization": f"Bearer {signed()}", "Content-Type": "application/json"}


async def chunks(size: int, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


async def test_a_body_over_a_megabyte_is_refused_unread(client: httpx2.AsyncClient) -> None:
    answer = await client.post(ACCOUNTS, content=b" " * (MEGABYTE + 1), headers=authorized())
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")


async def test_a_body_that_does_not_announce_its_size_is_cut_off(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.post(ACCOUNTS, content=chunks(65_536, 40), headers=authorized())
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")


async def test_a_body_of_exactly_a_megabyte_is_read(client: httpx2.AsyncClient) -> None:
    answer = await client.post(ACCOUNTS, content=b" " * MEGABYTE, headers=authorized())
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_JSON"


async def test_a_body_that_is_no_json_is_told_where_it_breaks(client: httpx2.AsyncClient) -> None:
    answer = await client.post(ACCOUNTS, content=b'{"external_id": ', headers=authorized())
    assert (answer.status_code, answer.json()["detail"]) == (
        400, "the body is not JSON: Expecting value, at character 16",
    )  # fmt: skip


async def test_webhooks_take_a_quarter_of_that(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/v1/webhooks/stripe", content=b" " * 262_145)
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["1e9", "-1", "99999999999999"])
async def test_a_false_size_is_refused(client: httpx2.AsyncClient, length: str) -> None:
    headers = authorized() | {"Content-Length": length}
    assert (await client.post(ACCOUNTS, content=b"{}", headers=headers)).status_code == 413


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ("[" * 33 + "]" * 33, True),
        ("[" * 32 + "]" * 32, False),
        ('{"a":' * 33 + "1" + "}" * 33, True),
        (json.dumps(["[" * 500, "{" * 500]), False),
        (json.dumps(['"[' * 40]), False),
        (json.dumps([[]] * 500), False),
        ("[" * 100_000, True),
        ('{"a": NaN}', True),
        ('{"a": -Infinity}', True),
        ('{"a": "NaN and Infinity are words"}', False),
        (r'{"a": "\u0000"}', True),
        (r'{"\u0000": 1}', True),
        (r'{"a": "\\u0000"}', False),
        (r'{"a": ["\ud800"]}', True),
        (r'{"a": "\ud83d\ude00"}', False),
        ('{"a": "\\ud83d', False),
        ('{"a": 1, "a": 2}', True),
        ('{"a": {"b": 1, "b": 1}}', True),
        ('{"a": 1, "\\u0061": 2}', True),
        ('{"a" :1,"b":"a:1"}', False),
        ('[{"a": 1}, {"a": 1}]', False),
        ('{"a": ":", "b": "12:30:00"}', False),
        (r'{"a": "\ud83d\\\ude00"}', True),
        (r'{"a": "\\\ud83d\ude00\ud83D\uDE00"}', False),
        (r'{"a": "\ud83d\ude00\ude00"}', True),
        ("[" * 32 + r'"\"[\\", "["' + "]" * 32, False),
        ("[" * 32 + r'"\\", [1]' + "]" * 32, True),
    ],
)
def test_only_json_that_can_be_kept_gets_through(body: str, refused: bool) -> None:
    """A body that is merely malformed is left to the parser, which says where."""
    assert (json_fault(body.encode()) is not None) is refused


@pytest.mark.parametrize("body", ["{", "nonsense", "{'a': 1}", "\x00", "[1,]"])
async def test_what_is_not_json_is_a_bad_request(client: httpx2.AsyncClient, body: str) -> None:
    answer = await client.post(ACCOUNTS, content=body, headers=authorized())
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_JSON")


async def test_bytes_that_are_not_text_are_a_bad_request(client: httpx2.AsyncClient) -> None:
    answer = await client.post(ACCOUNTS, content=b'{"a": "\xff\xfe"}', headers=authorized())
    assert answer.status_code == 400


async def test_a_number_too_long_to_read_is_a_bad_request(client: httpx2.AsyncClient) -> None:
    body = b'{"external_id": ' + b"9" * 10_000 + b"}"
    answer = await client.post(ACCOUNTS, content=body, headers=authorized())
    assert answer.status_code in {400, 422}


async def test_a_line_break_at_the_end_of_a_path_is_part_of_it(client: httpx2.AsyncClient) -> None:
    for path in (f"{ACCOUNTS}%0a", f"{ACCOUNTS}%0a/", "/health%0A", "/api/v1/meta/features%0a"):
        answer = await client.get(path, headers=authorized())
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), path


async def test_a_nul_in_the_address_is_a_bad_request(client: httpx2.AsyncClient) -> None:
    for path in (f"{ACCOUNTS}/a%00b", f"{ACCOUNTS}?q=%00"):
        answer = await client.get(path, headers=authorized())
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), path


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_moving_window_lets_exactly_its_share_through(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("api.identity.request_windows.monotonic", clock)
    rate = RateLimit("5/minute")
    for _ in range(5):
        rate.hit("a")
        clock.now += 10
    with pytest.raises(RateLimited) as refused:
        rate.hit("a")
    assert refused.value.fields["retry_after"] == 10
    rate.hit("b")
    clock.now += 10
    rate.hit("a")
    with pytest.raises(RateLimited):
        rate.hit("a")


@pytest.mark.parametrize(
    ("notation", "amount", "seconds"),
    [
        ("600/minute", 600, 60),
        ("5/second", 5, 1),
        ("1/hour", 1, 3_600),
        ("10000/day", 10_000, 86_400),
    ],
)
def test_a_rate_is_an_amount_per_unit_of_time(notation: str, amount: int, seconds: int) -> None:
    rate = RateLimit(notation)
    assert (rate.amount, rate.seconds) == (amount, seconds)


@pytest.mark.parametrize(
    "notation", ["", "600", "0/minute", "-1/minute", "x/minute", "6/fortnight"]
)
def test_a_rate_nobody_can_read_stops_the_start(notation: str) -> None:
    with pytest.raises(ValueError, match="BILLING_RATE_LIMIT"):
        RateLimit(notation)


async def test_a_caller_over_its_rate_waits_and_others_do_not() -> None:
    app = create_app(lonely_settings(BILLING_RATE_LIMIT="3/minute"))
    async with _client(app) as client:
        busy = {"Authorization": f"Bearer {signed(sub='busy')}"}
        statuses = [(await client.get(ACCOUNTS, headers=busy)).status_code for _ in range(4)]
        assert statuses == [503, 503, 503, 429]
        answer = await client.get(ACCOUNTS, headers=busy)
        assert answer.json()["code"] == "RATE_LIMITED"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        renewed = {"Authorization": f"Bearer {signed(sub='busy', jti='another')}"}
        assert (await client.get(ACCOUNTS, headers=renewed)).status_code == 429
        quiet = {"Authorization": f"Bearer {signed(sub='quiet')}"}
        assert (await client.get(ACCOUNTS, headers=quiet)).status_code == 503
        for path in ("/health", "/api/v1/meta/features", "/api/v1/webhooks/stripe"):
            assert {(await client.get(path)).status_code for _ in range(6)} != {429}, path


async def test_guessing_tokens_is_limited_by_address() -> None:
    app = create_app(lonely_settings(BILLING_RATE_LIMIT="3/minute"))
    async with _client(app) as client:
        guesses = [{"Authorization": f"Bearer guess-{number}"} for number in range(4)]
        got = [(await client.get(ACCOUNTS, headers=guess)).status_code for guess in guesses]
        assert got == [401, 401, 401, 429]


def _client(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://api")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ['{"external_id": "\\u0000"}', '{"a": NaN}', '{"a": 1}'])
async def test_a_body_in_another_encoding_does_not_pass_under_the_guards(
    client: httpx2.AsyncClient, encoding: str, text: str
) -> None:
    answer = await client.post(ACCOUNTS, content=text.encode(encoding), headers=authorized())
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    "header",
    ["Authorization", "X-Account-Id", "Idempotency-Key", "X-Platform"],
)
async def test_a_header_that_decides_and_comes_twice_is_refused(
    client: httpx2.AsyncClient, header: str
) -> None:
    sent = [("Authorization", authorized()["Authorization"]), (header, "shop-2")]
    sent += [(header, "shop-1")] if header != "Authorization" else []
    answer = await client.get("/api/v1/billing/invoices", headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/api/v1/usage/current", "reads"),
        ("POST", "/api/v1/usage/batch", "metering"),
        ("PUT", "/api/v1/usage/budgets", "money"),
        ("DELETE", "/api/v1/usage/budgets/bdg_1", "money"),
        ("POST", "/api/v1/billing/credits/holds/hld_1/capture", "metering"),
        ("POST", "/api/v1/billing/purchases", "money"),
        ("POST", "/api/v1/billing/process", "money"),
        ("POST", "/api/v1/billing/calculate", "metering"),
        ("DELETE", "/api/v1/billing/payment-methods/mth_1", "money"),
        ("PUT", "/api/v1/admin/quotas", "reads"),
    ],
)
def test_every_route_is_of_one_class(method: str, path: str, kind: str) -> None:
    assert class_of(method, path) == kind


async def test_a_caller_is_told_where_it_stands_and_each_class_counts_for_itself() -> None:
    app = create_app(lonely_settings(BILLING_RATE_LIMIT=None, BILLING_RATE_LIMIT_MONEY="1/minute"))
    transport = httpx2.ASGITransport(app=app)
    # The role is missing: counted and refused, before anything asks the database.
    headers = authorized() | {
        "Authorization": f"Bearer {signed(roles=['member'], account_id='shop-1')}"
    }
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        first = await client.post("/api/v1/billing/trials", headers=headers)
        assert (first.status_code, first.headers["RateLimit-Limit"]) == (403, "1")
        assert first.headers["RateLimit-Remaining"] == "0"
        second = await client.post("/api/v1/billing/trials", headers=headers)
        assert (second.status_code, second.json()["code"]) == (429, "RATE_LIMITED")
        assert second.headers["Retry-After"] == second.headers["RateLimit-Reset"]
        other = await client.get("/api/v1/admin/accounts", headers=headers)
        assert (other.status_code, other.headers["RateLimit-Remaining"]) == (403, "1199")


async def test_nobody_on_the_way_keeps_or_guesses_at_an_answer(client: httpx2.AsyncClient) -> None:
    for path in ("/health", "/api/v1/billing/invoices", "/nowhere"):
        headers = (await client.get(path)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_browser_that_came_by_https_comes_back_by_https() -> None:
    for url, expected in (("https://billing.example", "max-age=31536000"), ("http://x", None)):
        app = create_app(lonely_settings(BILLING_PUBLIC_URL=url))
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://api"
        ) as client:
            headers = (await client.get("/api/v1/info")).headers
        assert headers.get("Strict-Transport-Security") == expected


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("billing.example", 200),
        ("Billing.Example:8443", 200),
        ("[::1]:8080", 200),
        ("evil.example", 400),
        ("billing.example.evil.example", 400),
        ("billing.example, evil.example", 400),
        ("", 400),
    ],
)
async def test_hosts_are_served_by_name(host: str, status: int) -> None:
    app = create_app(lonely_settings(BILLING_HOSTS="billing.example,[::1]"))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.get("/api/v1/info", headers={"Host": host})
        assert answer.status_code == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        # Probes name an address; the database is not there, but it is asked.
        for path in ("/health", "/health/"):
            assert (await client.get(path, headers={"Host": host})).status_code == 503
        twice = [("Host", "billing.example"), ("Host", "evil.example")]
        assert (await client.get("/api/v1/info", headers=twice)).status_code == 400


async def test_a_parameter_that_a_route_does_not_take_is_refused(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/api/v1/admin/accounts?colour=red", headers=authorized())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert answer.json()["errors"][0]["field"] == "colour"


@pytest.mark.parametrize("path", ["info", "meta/features"])
async def test_a_route_without_a_token_refuses_them_too(
    client: httpx2.AsyncClient, path: str
) -> None:
    answer = await client.get(f"/api/v1/{path}?colour=red")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "colour")
    assert (await client.get(f"/api/v1/{path}")).status_code == 200
    # A probe is no caller that learns from a refusal: it would take the process for dead.
    assert (await client.get("/health?colour=red")).status_code == 503


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/usage/record?dry_run=true&dry_run=false"),
        ("POST", "/api/v1/usage/record?dry_run=true&dry%5Frun=true"),
        ("GET", "/api/v1/billing/invoices?limit=1&limit=2"),
        ("GET", "/health?a=1&a=1"),
        ("GET", "/nowhere?a=1&b=2&a=3"),
    ],
)
async def test_a_parameter_that_comes_twice_is_refused_everywhere(
    client: httpx2.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path, headers=authorized())
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert "twice" in answer.json()["detail"]


async def test_a_parameter_that_is_a_list_may_come_twice() -> None:
    app = FastAPI()

    @app.get("/things/{name}")
    async def things(name: str, id: Annotated[list[str], Query()], one: str = "") -> list[str]:
        return [name, one, *id]

    app.add_middleware(RequestLimitMiddleware)
    async with _client(app) as client:
        assert (await client.get("/things/x?id=1&id=2&one=3")).json() == ["x", "3", "1", "2"]
        assert (await client.get("/things/x?id=1&one=2&one=3")).status_code == 400
        assert (await client.get("/others/x?id=1&id=2")).status_code == 400


@pytest.mark.parametrize("hosts", [[], ["billing.example", "billing.example"], ["a", "b"]])
@pytest.mark.parametrize("path", ["/health", "/api/v1/info", "/nowhere"])
async def test_a_request_names_its_host_once(app: FastAPI, path: str, hosts: list[str]) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    named = [(b"host", host.encode()) for host in hosts]
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": named, "scheme": "http", "http_version": "1.1",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("method", "path", "stops"),
    [
        ("POST", "/api/v1/billing/purchases", True),
        ("POST", "/api/v1/billing/process", True),
        ("POST", "/api/v1/admin/payments/pay_1/refund", True),
        ("GET", "/api/v1/billing/purchases", False),
        ("POST", "/api/v1/usage/record", False),
        ("POST", "/api/v1/billing/credits/holds", False),
        ("POST", "/api/v1/admin/accounts", False),
        ("POST", "/api/v1/webhooks/stripe", False),
    ],
)
def test_writes_but_those_of_usage_and_of_new_accounts_stop_while_billing_is_parked(
    method: str, path: str, stops: bool
) -> None:
    assert may_move_money(method, path) is stops

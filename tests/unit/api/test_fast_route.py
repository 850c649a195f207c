"""The fast path answers as FastAPI does, honours overrides; the index finds what a walk finds."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, get_args

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from api.answers.problems import JSON, install
from api.answers.schemas import Body, Credits, optional_body
from api.app import create_app
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall, MemberUse
from api.document.openapi import api_routes
from api.edge.request_limits import RequestLimitMiddleware
from api.requests import fast_route
from api.requests.fast_route import fast, serve
from api.requests.fastapi_internals import Unsupported, bind
from api.route_index import RouteIndex
from api.routes.base import PREFIX
from billing.core.errors import NotAllowed
from tests.unit.api.conftest import lonely_settings

GOOD = b'{"amount": "1.50"}'
ASKED: list[tuple[str, bytes, list[tuple[str, str]]]] = [
    (content, body, headers)
    for content in ("application/json", "application/json; charset=utf-8", "text/plain", "")
    for body in (
        GOOD, b"", b"null", b"[]", b"{", b'{"amount": 1}', b'{"amount": "1", "more": 2}', b"1e999",
        b'\xef\xbb\xbf{"amount": "1"}', b'"\xff"', b'{"amount": "1", "amount": "2"}', b"NaN",
    )
    for headers in ([], [("Key", "a")], [("Key", "a"), ("Key", "b")], [("Refuse", "1")])
]  # fmt: skip


class Wish(Body):
    """A body."""

    amount: Credits


class Whim(Body):
    """A body that may be left out."""

    amount: Credits | None = None


async def _caller(request: Request, refuse: Annotated[str | None, Header()] = None) -> str:
    if refuse:
        raise NotAllowed("FORBIDDEN", "refused")
    return f"caller of {request.url.path}"


Caller = Annotated[str, Depends(_caller)]
Key = Annotated[str | None, Header()]


async def wish(name: str, body: Wish, caller: Caller, key: Key = None) -> Response:
    return Response(repr((name, body, caller, key)))


async def whim(body: Annotated[Whim, optional_body(Whim)], caller: Caller) -> Response:
    return Response(repr((body, caller)))


async def bare(name: str, caller: Caller, key: Key = None) -> Response:
    return Response(repr((name, caller, key)))


def _routes(*handlers: tuple[str, Callable[..., Any]]) -> list[APIRoute]:
    router = APIRouter()
    for path, handler in handlers:
        router.add_api_route(path, handler, methods=["POST"])
    return [route for route in router.routes if isinstance(route, APIRoute)]


def _app(
    *handlers: tuple[str, Callable[..., Any]],
    how: Callable[[FastAPI, APIRoute], APIRoute] = serve,
) -> FastAPI:
    app = FastAPI()
    app.router.routes.extend(how(app, route) for route in _routes(*handlers))
    app.add_middleware(RequestLimitMiddleware)
    install(app)
    return app


def _client(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x")


def _is_fast(route: APIRoute) -> bool:
    return route.app.__qualname__.startswith("_fast")


@pytest.fixture
def all_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers of this file are marked, for one test."""
    monkeypatch.setattr(fast_route, "_marked", {wish, whim, bare, twice})


HANDLERS = (("/wishes/{name}", wish), ("/whims", whim), ("/bare/{name}", bare))


@pytest.mark.parametrize("path", ["/wishes/a%20b", "/whims", "/bare/x"])
@pytest.mark.usefixtures("all_fast")
async def test_the_fast_path_answers_as_fastapi_does(path: str) -> None:
    apps = _app(*HANDLERS), _app(*HANDLERS, how=bind)
    assert [[_is_fast(route) for route in api_routes(app)] for app in apps] == [
        [True] * 3,
        [False] * 3,
    ]
    seen = set()
    for content, body, headers in ASKED:
        sent: list[tuple[str, str]] = [*headers, *([("Content-Type", content)] if content else [])]
        answers = [await _client(app).post(path, content=body, headers=sent) for app in apps]
        one, other = ((answer.status_code, answer.content) for answer in answers)
        assert one == other, (content, body, headers)
        seen.add(one[0])
    assert seen >= {200, 403}


@pytest.mark.usefixtures("all_fast")
async def test_a_body_is_read_by_the_handlers_own_reader_or_left_to_fastapi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = {GOOD: Wish(amount=Decimal("7"))}.get
    monkeypatch.setattr(fast_route, "_readers", {wish: read})
    client = _client(_app(*HANDLERS))
    told = [
        (await client.post("/wishes/x", content=body, headers={"Content-Type": kind})).text
        for body, kind in ((GOOD, JSON), (b'{"amount": "2"}', JSON), (GOOD, f"{JSON}; charset=x"))
    ]
    assert ["'7'" in told[0], "'2'" in told[1], "'1.50'" in told[2]] == [True] * 3, told


COUNTED: list[str] = []


async def _counted() -> str:
    COUNTED.append("called")
    return "one"


async def _inner(counted: Annotated[str, Depends(_counted)]) -> str:
    return counted


async def twice(
    inner: Annotated[str, Depends(_inner)], counted: Annotated[str, Depends(_counted)]
) -> Response:
    return Response(f"{inner} {counted}")


@pytest.mark.usefixtures("all_fast")
async def test_a_dependency_that_two_share_is_called_once() -> None:
    app = _app(("/twice", twice))
    assert [_is_fast(route) for route in api_routes(app)] == [True]
    for _ in range(2):
        COUNTED.clear()
        assert (await _client(app).post("/twice")).text == "one one"
        assert COUNTED == ["called"]


async def test_a_handler_that_is_not_marked_is_left_to_fastapi() -> None:
    assert not any(map(_is_fast, api_routes(_app(*HANDLERS))))


async def _with_query(caller: Caller, limit: int) -> Response:
    return Response(f"{caller} {limit}")


async def asked(caller: Caller, limit: int = 3) -> Response:
    return Response(f"{caller} {limit}")


async def test_a_query_is_fastapis_and_without_one_its_default_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_route, "_marked", {asked})
    app = _app(("/asked", asked))
    assert [_is_fast(route) for route in api_routes(app)] == [True]
    headers = {"X-Caller": "me"}
    for query, status in (("", 200), ("?limit=5", 200), ("?limit=x", 422)):
        answers = [
            await _client(one).post(f"/asked{query}", headers=headers)
            for one in (app, _app(("/asked", asked), how=bind))
        ]
        assert {answer.status_code for answer in answers} == {status}
        assert answers[0].content == answers[1].content


async def _with_model(caller: Caller) -> dict[str, Any]:
    return {"caller": caller}


async def _with_two_bodies(one: Wish, other: Whim) -> Response:
    return Response(f"{one} {other}")


async def _uncached(one: Annotated[str, Depends(_counted, use_cache=False)]) -> Response:
    return Response(one)


@pytest.mark.parametrize("handler", [_with_query, _with_model, _with_two_bodies, _uncached])
def test_a_marked_handler_that_does_not_fit_stops_the_start(
    handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_route, "_marked", set())
    fast(handler)
    with pytest.raises(Unsupported):
        _app(("/x", handler))


def test_only_the_measured_routes_are_fast() -> None:
    """Each is driven by `make bench`; another one needs a measurement first."""
    found = {route.path for route in api_routes(create_app(lonely_settings())) if _is_fast(route)}
    assert found == {
        f"{PREFIX}{path}"
        for path in (
            "/usage/record", "/usage/batch", "/billing/credits/holds",
            "/billing/credits/holds/{hold_id}/capture", "/webhooks/stripe",
        )
    }  # fmt: skip


async def test_an_override_counts_on_every_route() -> None:
    """FastAPI's own hook for tests, on a fast route and on another, and only while it is set."""

    async def refused() -> AccountCall:
        raise NotAllowed("FORBIDDEN", "the override was asked")

    app = create_app(lonely_settings())
    assert {route.dependency_overrides_provider for route in api_routes(app)} == {app}
    asked = (
        ("POST", "/usage/record", {"usage_amount": "1", "product_id": "p"}),
        ("POST", "/billing/credits/holds", {"amount": "1"}),
        ("GET", "/billing/invoices", None),
    )
    gates = [get_args(alias)[1].dependency for alias in (MemberCall, MemberUse, BillingCall)]
    for overrides, status in ((dict.fromkeys(gates, refused), 403), ({}, 401)):
        app.dependency_overrides = overrides
        for method, path, body in asked:
            answer = await _client(app).request(method, f"{PREFIX}{path}", json=body)
            assert answer.status_code == status, (path, answer.text)


Found = tuple[APIRoute, dict[str, Any]] | None


def _found(match: Match, child: Scope) -> Found:
    return (child["route"], child["path_params"]) if match is Match.FULL else None


def test_every_path_leads_where_a_walk_does() -> None:
    routes = api_routes(create_app(lonely_settings()))
    index, known, paths = RouteIndex(routes), 0, 0
    for route in routes:
        for text in ("x", "current", "export", "y/z"):
            path = route.path_format
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", text)
            for method in ("GET", "POST", "PUT", "DELETE"):
                scope = {"type": "http", "method": method, "path": path, "root_path": ""}
                walk = (_found(*one.matches(scope)) for one in routes)
                walked = next((one for one in walk if one is not None), None)
                found = _found(*index.matches(scope))
                assert found in (walked, None), (method, path)
                paths += walked is not None
                known += found is not None
    assert known > 0.9 * paths

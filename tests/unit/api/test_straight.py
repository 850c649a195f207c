"""Requests taken straight are answered as FastAPI would, and paths lead where a walk does."""

from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from api.app import create_app
from api.documents import api_routes
from api.limits import RequestLimitMiddleware
from api.problems import install
from api.routes.base import new_router
from api.schemas import Body, Credits, left_out
from api.signpost import Signpost
from billing.core.errors import NotAllowed
from tests.unit.api.conftest import lonely_settings

JSON = {"Content-Type": "application/json"}
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


def _routes(router: APIRouter) -> APIRouter:
    @router.post("/wishes/{name}")
    async def wish(name: str, body: Wish, caller: Caller, key: Key = None) -> Response:
        return Response(repr((name, body, caller, key)))

    @router.post("/whims")
    async def whim(body: Annotated[Whim, left_out(Whim)], caller: Caller) -> Response:
        return Response(repr((body, caller)))

    @router.post("/bare/{name}")
    async def bare(name: str, caller: Caller, key: Key = None) -> Response:
        return Response(repr((name, caller, key)))

    return router


def _client(router: APIRouter) -> httpx2.AsyncClient:
    app = FastAPI()
    app.router.routes.extend(_routes(router).routes)
    app.add_middleware(RequestLimitMiddleware)
    install(app)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x")


@pytest.mark.parametrize("path", ["/wishes/a%20b", "/whims", "/bare/x"])
async def test_straight_and_general_answer_alike(path: str) -> None:
    straight, general = _client(new_router("x", prefix="")), _client(APIRouter())
    seen = set()
    for content, body, headers in ASKED:
        sent: list[tuple[str, str]] = [*headers, *([("Content-Type", content)] if content else [])]
        answers = [
            await client.post(path, content=body, headers=sent) for client in (straight, general)
        ]
        one, other = ((answer.status_code, answer.content) for answer in answers)
        assert one == other, (content, body, headers)
        seen.add(one[0])
    assert seen >= {200, 403}


async def test_who_asks_for_more_is_left_to_fastapi() -> None:
    router = new_router("x", prefix="")

    @router.get("/plain")
    async def plain(caller: Caller) -> Response:
        return Response(caller)

    @router.get("/asked")
    async def asked(caller: Caller, limit: int = 3) -> Response:
        return Response(f"{caller} {limit}")

    @router.get("/told")
    async def told(caller: Caller) -> dict[str, Any]:
        return {"caller": caller}

    general = [
        route.app.__qualname__.startswith("request_response")
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    assert general == [False, True, True]


Found = tuple[APIRoute, dict[str, Any]] | None


def _found(match: Match, child: Scope) -> Found:
    return (child["route"], child["path_params"]) if match is Match.FULL else None


def test_every_path_leads_where_a_walk_does() -> None:
    routes = api_routes(create_app(lonely_settings()))
    post, known, paths = Signpost(routes), 0, 0
    for route in routes:
        for text in ("x", "current", "export", "y/z"):
            path = route.path_format
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", text)
            for method in ("GET", "POST", "PUT", "DELETE"):
                scope = {"type": "http", "method": method, "path": path, "root_path": ""}
                walk = (_found(*one.matches(scope)) for one in routes)
                walked = next((one for one in walk if one is not None), None)
                found = _found(*post.matches(scope))
                assert found in (walked, None), (method, path)
                paths += walked is not None
                known += found is not None
    assert known > 0.9 * paths

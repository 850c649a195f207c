"""The pinned FastAPI has what `api/requests/fastapi_internals.py` builds on; no other file does.

A failure after an upgrade says which part changed; read `Dependency` and the fast path again before
these sets are brought up to date.
"""

import inspect
import re
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import fastapi.routing
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Request, Response
from fastapi._compat import ModelField
from fastapi.dependencies import utils
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.requests import fastapi_internals
from devstack.options import ROOT

INTERNALS = "api/requests/fastapi_internals.py"


def _route(handler: Any) -> APIRoute:
    router = APIRouter()
    router.add_api_route("/x/{name}", handler, methods=["POST"])
    route = router.routes[0]
    assert isinstance(route, APIRoute)
    return route


async def _one(request: Request) -> str:
    return request.url.path


async def _handler(
    name: str,
    body: Annotated[dict[str, str], Body()],
    one: Annotated[str, Depends(_one)],
    some_key: Annotated[str | None, Header()] = None,
) -> Response:
    return Response(f"{name} {body} {one} {some_key}")


def test_fastapi_is_the_version_that_was_read() -> None:
    pinned = re.search(r"^fastapi==(\S+)", (ROOT / "requirements.in").read_text(), re.MULTILINE)
    assert pinned is not None
    assert version("fastapi") == pinned[1]


def test_a_dependant_names_every_source_of_arguments_that_is_read_or_refused() -> None:
    assert {field.name for field in fields(Dependant)} == {
        # read
        "path_params", "header_params", "body_params", "dependencies", "name", "call",
        "request_param_name", "use_cache",
        # refused: `_needs_fastapi`
        "query_params", "cookie_params", "response_param_name", "background_tasks_param_name",
        "security_scopes_param_name", "own_oauth_scopes", "http_connection_param_name",
        "websocket_param_name", "concurrency",
        # of no matter: scopes of those above, the path's text, when a generator ends
        "parent_oauth_scopes", "path", "scope",
    }  # fmt: skip


def test_a_route_is_read_as_fastapi_resolves_it() -> None:
    route = _route(_handler)
    found = fastapi_internals.endpoint_of(route)
    assert found.call is _handler
    assert found.path_names == ("name",)
    assert found.headers == (("some_key", "some-key"),)
    assert [field.name for field in found.bodies] == ["body"]
    assert [(one.name, one.call, one.request_name) for one in found.dependencies] == [
        ("one", _one, "request")
    ]
    assert fastapi_internals.dependency_calls(route) == [_handler, _one]


def test_a_field_validates_a_body_as_the_fast_path_asks_it_to() -> None:
    (field,) = fastapi_internals.endpoint_of(_route(_handler)).bodies
    assert isinstance(field, ModelField)
    assert field.validate({"a": "b"}, loc=("body",)) == ({"a": "b"}, [])
    value, errors = field.validate({"a": 1}, loc=("body",))
    assert value is None
    assert [(error["type"], error["loc"]) for error in errors] == [("string_type", ("body", "a"))]


def test_dependencies_are_resolved_in_the_order_the_fast_path_keeps() -> None:
    """Dependencies first, each once by its cache key; the body is validated behind them."""
    source = inspect.getsource(utils.solve_dependencies)
    order = [
        source.index(part)
        for part in (
            "for sub_dependant in dependant.dependencies",
            "sub_dependant_cache_key in dependency_cache",
            "dependant.path_params, request.path_params",
            "if dependant.body_params",
        )
    ]
    assert order == sorted(order)


def test_a_bound_copy_takes_its_overrides_from_the_app() -> None:
    app, route = FastAPI(), _route(_handler)
    bound = fastapi_internals.bind(app, route)
    assert bound.dependency_overrides_provider is app
    assert route.dependency_overrides_provider is None
    assert bound.app is not route.app
    source = inspect.getsource(APIRoute.get_route_handler)
    assert "dependency_overrides_provider=route.dependency_overrides_provider" in source
    assert "self.app = request_response(self.get_route_handler())" in inspect.getsource(APIRoute)
    assert callable(fastapi.routing.request_response)


def test_no_other_module_uses_what_fastapi_does_not_promise() -> None:
    private = re.compile(
        r"fastapi\._|fastapi\.dependencies|fastapi\.routing import [^\n]*request_response"
        r"|iter_route_contexts|_embed_body_fields|\.dependant\b|dependency_overrides_provider"
    )
    folders = ("api", "sandbox", "cli", "devstack", "benchmarks")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in Path(ROOT / folder).rglob("*.py")
        if private.search(path.read_text())
    }
    assert found == {INTERNALS}

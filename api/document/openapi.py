"""The OpenAPI document and its page: Swagger UI, served from files of this package."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.staticfiles import StaticFiles

from api.answers.problems import MEDIA_TYPE, responses
from api.document import accepted_answers, examples, meanings, schema_names
from api.gates import ACCOUNT_HEADER, EveryGate, OperatorGate, TenantGate
from api.identity.request_windows import may_move_money
from api.requests.fastapi_internals import dependency_calls
from api.shop_headers import PLATFORM_HEADER, SHOP_HEADER

STATIC: Final = Path(__file__).parent / "static"
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_DESCRIPTION: Final = """\
Plans and subscriptions, trials, prepaid credits, purchases, invoices, payments and dunning.

Every call but health, features, info and webhooks needs `Authorization: Bearer <JWT>`. Errors are
`application/problem+json` with a stable `code`. Writes take an `Idempotency-Key`; lists take
`cursor`, or `page` and `limit`, or `offset` and `limit`. `X-Correlation-Id` is taken and sent back.
"""
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>durable-billing API</title>
<link rel="stylesheet" href="/docs/static/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/docs/page.js"></script></body></html>
"""
_SCRIPT: Final = """SwaggerUIBundle({{
  url: "{url}", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], persistAuthorization: false
}});
"""
# Ids such as [E5] in docstrings refer to docs/requirements.md; callers do not need them.
_RULES: Final = re.compile(r"\s*\[[A-Z]\d+(?:(?:,\s| to |-)[A-Z]\d+)*\]")
_PROSE: Final = frozenset({"description", "summary"})
INTERNAL: Final = 500
_BODY_CODES: Final = ("INVALID_JSON", "BODY_TOO_LARGE", "REQUEST_TIMEOUT")
_PROBLEM: Final = {"$ref": schema_names.REF + "ProblemBody"}
_RATE_HEADERS: Final = {
    name: {"description": text, "schema": {"type": "integer"}}
    for name, text in (
        ("RateLimit-Limit", "Requests of this class that the caller may send in a minute"),
        ("RateLimit-Remaining", "Those that are left"),
        ("RateLimit-Reset", "Seconds until there are more"),
    )
}
_ACCOUNT_PARAMETERS: Final = (
    (ACCOUNT_HEADER, "The account to act for: its id or external id; operators must name it."),
    (PLATFORM_HEADER, "When sent, must be the account's platform, else 403."),
    (SHOP_HEADER, "When sent, must be the account's shop domain, else 403."),
)


def install(app: FastAPI) -> None:
    """Serve the page at /docs and document the headers that gates read themselves."""
    app.mount("/docs/static", StaticFiles(directory=STATIC / "swagger-ui"), name="docs-static")
    app.add_route("/docs", _page, include_in_schema=False)
    app.add_route("/docs/page.js", _script, include_in_schema=False)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]


async def _page(_: Request) -> HTMLResponse:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _CSP})


async def _script(request: Request) -> HTMLResponse:
    script = _SCRIPT.format(url=request.app.openapi_url)
    return HTMLResponse(script, media_type="text/javascript")


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
        )
        accepted_answers.add(document, api_routes(app))
        for route in api_routes(app):
            operations = document["paths"].get(route.path_format, {})
            _name_account(route, operations)
            gates = [
                gate
                for gate in dependency_calls(route)
                if isinstance(gate, (TenantGate, OperatorGate))
            ]
            for method in (route.methods or ()) if gates else ():
                codes = [code for gate in gates for code in _codes_of(gate)]
                codes += ["BILLING_PARKED"] if may_move_money(method, route.path_format) else []
                _say_what_every_route_answers(operations[method.lower()], codes)
            for operation in operations.values():
                _say_that_it_may_fail(operation)
        _say_errors_are_problems(document)
        examples.add(document)
        schema_names.add(document)
        meanings.add(document)
        for name, schema in document["components"]["schemas"].items():
            schema["title"] = name
        app.openapi_schema = _without_rules(document)
    return app.openapi_schema


def _without_rules(part: Any) -> Any:
    """Return the document without rule ids, which callers do not know."""
    if isinstance(part, list):
        return [_without_rules(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _RULES.sub("", one)
        if name in _PROSE and isinstance(one, str)
        else _without_rules(one)
        for name, one in part.items()
    }


def api_routes(app: FastAPI) -> list[APIRoute]:
    """Return every route of the API; tests are generated from this list."""
    return [route for route in app.routes if isinstance(route, APIRoute)]


def _codes_of(gate: TenantGate | OperatorGate) -> tuple[str, ...]:
    """Return the codes of a gate that finds no account, or another shop than the headers name."""
    if isinstance(gate, OperatorGate):
        return ("PLATFORM_MISMATCH",)
    none_named = () if isinstance(gate, EveryGate) else ("ACCOUNT_REQUIRED",)
    return "MERCHANT_NOT_FOUND", "PLATFORM_MISMATCH", *none_named


def _say_what_every_route_answers(operation: dict[str, Any], codes: Sequence[str]) -> None:
    """Document the errors raised before a handler runs, and the rate-limit headers."""
    of_body = _BODY_CODES if "requestBody" in operation else ()
    answers = operation["responses"]
    for status, entry in responses("BAD_REQUEST", *of_body, *codes).items():
        known = answers.setdefault(str(status), {"description": entry["description"]})
        shown = known.setdefault("content", {}).setdefault(MEDIA_TYPE, {"schema": _PROBLEM})
        shown.setdefault("examples", {}).update(entry["content"][MEDIA_TYPE]["examples"])
    for status, answer in answers.items():
        if status < "3" or status == "429":
            answer.setdefault("headers", {}).update(_RATE_HEADERS)


def _say_that_it_may_fail(operation: dict[str, Any]) -> None:
    """Document the answer of an internal error for a route."""
    (entry,) = (one for status, one in responses().items() if status == INTERNAL)
    shown = {MEDIA_TYPE: entry["content"][MEDIA_TYPE] | {"schema": _PROBLEM}}
    entry = {"description": entry["description"], "content": shown}
    operation["responses"].setdefault(str(INTERNAL), entry)


def _say_errors_are_problems(document: dict[str, Any]) -> None:
    """Move error schemas to the problem media type; FastAPI puts them under the answer's."""
    for operation in (one for many in document["paths"].values() for one in many.values()):
        for answer in operation["responses"].values():
            content = answer.get("content", {})
            if MEDIA_TYPE in content:
                rest = {kind: one for kind, one in content.items() if one.get("schema") != _PROBLEM}
                answer["content"] = rest | {MEDIA_TYPE: content[MEDIA_TYPE] | {"schema": _PROBLEM}}


def _name_account(route: APIRoute, operations: dict[str, Any]) -> None:
    if not any(isinstance(gate, TenantGate) for gate in dependency_calls(route)):
        return
    for method in route.methods or ():
        operation = operations.get(method.lower())
        if operation is not None:
            operation.setdefault("parameters", []).extend(
                {
                    "name": name,
                    "in": "header",
                    "required": False,
                    "description": text,
                    "schema": {"type": "string"},
                }
                for name, text in _ACCOUNT_PARAMETERS
            )

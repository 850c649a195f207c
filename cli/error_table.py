"""The error codes of the API as Markdown, from the table in code and the API document."""

from collections import defaultdict
from typing import Any, Final

from api.answers.problem_codes import NOT_OF_A_ROUTE
from api.answers.problems import MEDIA_TYPE
from billing.core.error_codes import CODES
from cli.pages import show

NAMED: Final = 3
"""Routes that answer a code are named up to this many."""
EVERY: Final = 0.9
"""A code that at least this share of the routes may answer is listed as "every route"."""
_HEAD: Final = """\
# Errors

Made by `billing errors` from `billing/core/error_codes.py` and the API document; a test keeps them
equal.

Every refusal is `application/problem+json` (RFC 9457):

```json
{"type": "urn:durable-billing:problem:invalid-pack", "title": "Bad Request", "status": 400,
 "code": "INVALID_PACK", "detail": "no such credit pack", "correlation_id": "5f0c…"}
```

Decide by `code`, which never changes its meaning; show or log `detail`, whose wording may change.
Some codes add fields (`required`, `available`, `decline_code`, …). `errors` lists
the wrong fields of a body. Operators find the request in the logs by its `correlation_id`.

| status | means | do |
|---|---|---|
| 400, 405, 413, 422, 431 | the request is wrong | correct it; the same request is refused again |
| 401 | the token is missing, expired or not valid here | get a new one and send the request again |
| 402 | money or credits are missing, or a card was declined | ask the customer; use a new key |
| 403 | the token may not do this | use another role or account |
| 404 | it does not exist, or is not this account's | |
| 409 | it conflicts with the current state | fetch it again; with `Retry-After`, wait and repeat |
| 410 | it existed and was deleted or archived | do as `detail` says, or ask the operators |
| 408 | the body came too slowly | send it again |
| 429 | too much at once, or a limit is used up | wait for `Retry-After`; else as `detail` says |
| 502 | the payment provider refused; nothing was charged | try again with the same key |
| 500, 503 or no answer | the service is partly unavailable | repeat with the same key |

The key is the `Idempotency-Key`. A 202 is no error: the outcome is undecided, and a request with
the same key asks again.

| code | status | an example of its `detail` | answered by |
|---|---|---|---|
"""


def render(document: dict[str, Any]) -> str:
    """Return the page docs/errors.md for this OpenAPI document."""
    routes = _routes(document)
    total = sum(len(many) for many in document["paths"].values())
    lines = []
    for code, told in CODES.items():
        status = f"{told.status}, {told.on_manual}" if told.on_manual else str(told.status)
        detail = told.detail.replace("|", "\\|")
        lines.append(f"| `{code}` | {status} | {detail} | {_by(code, routes[code], total)} |\n")
    return _HEAD + "".join(lines)


def _routes(document: dict[str, Any]) -> dict[str, list[str]]:
    """Return the operations that may answer each code."""
    found = defaultdict(list)
    for operations in document["paths"].values():
        for operation in operations.values():
            codes = {
                code
                for answer in operation["responses"].values()
                for code in answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ())
            }
            for code in codes:
                found[code].append(operation["operationId"])
    return found


def _by(code: str, operations: list[str], total: int) -> str:
    if len(operations) >= EVERY * total:
        return "every route"
    if not operations:
        return NOT_OF_A_ROUTE[code]
    if len(operations) <= NAMED:
        return ", ".join(f"`{name}`" for name in sorted(operations))
    return f"{len(operations)} routes"


def errors() -> None:
    """Print every error code of the API."""
    from pydantic import SecretStr

    from api.app import create_app
    from billing.core.settings import Settings

    document = create_app(Settings(jwt_secret=SecretStr("s" * 32))).openapi()
    show(render(document))

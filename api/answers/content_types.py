"""The content type of a body: JSON, by the rule of all routes."""

from typing import Final

from starlette.requests import Request

NOT_JSON: Final = "must be application/json"
FIELD: Final = "content-type"


def is_json(request: Request) -> bool:
    """Return True for a body that is declared as JSON."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return said == "application/json" or (said.startswith("application/") and "+json" in said)

"""Parameters that a route does not take are refused: they would be filters that do nothing."""

from fastapi import Request

from api.fastapi_internals import query_names
from billing.core.errors import Invalid


def refuse_unknown(request: Request) -> None:
    """Refuse a query with a parameter that the route does not take. Errors: VALIDATION_FAILED."""
    known = query_names(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            words = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
            message = f"no such parameter: this {words}"
            errors = [{"field": name, "message": message}]
            raise Invalid("VALIDATION_FAILED", f"{name}: {message}", errors=errors)

"""The 202 of every route with an Idempotency-Key, for work whose result could not be read."""

from collections.abc import Iterable
from typing import Any, Final

from fastapi.routing import APIRoute

from api.answers.problems import JSON
from api.committed import AcceptedAnswer
from api.document.schema_names import REF
from api.idempotency import CLAIMING
from api.requests.fastapi_internals import dependency_calls

_NAME: Final = AcceptedAnswer.__name__
_WORDS: Final = "Stored, but not answered yet; retry with the same key"


def add(document: dict[str, Any], routes: Iterable[APIRoute]) -> None:
    """Add the answer to each operation that claims a key, beside its own 202."""
    schemas = document["components"]["schemas"]
    model = AcceptedAnswer.model_json_schema(ref_template=REF + "{model}", mode="serialization")
    for name, one in model.pop("$defs").items():
        schemas.setdefault(name, one)
    schemas[_NAME] = model
    for route in routes:
        if CLAIMING.isdisjoint(dependency_calls(route)):
            continue
        for method in route.methods or ():
            _add(document["paths"][route.path_format][method.lower()]["responses"], schemas)


def _add(answers: dict[str, Any], schemas: dict[str, Any]) -> None:
    accepted = {"$ref": REF + _NAME}
    known = answers.setdefault("202", {"description": _WORDS})
    shown = known.setdefault("content", {}).setdefault(JSON, {"schema": accepted})
    own = shown["schema"]
    if own != accepted:
        # A name of its own: unnamed unions are named after their operation, once each.
        name = f"{own['$ref'].removeprefix(REF)}Or{_NAME}"
        schemas[name] = {"anyOf": [own, accepted]}
        shown["schema"] = {"$ref": REF + name}

"""Checks answers and requests against an OpenAPI document with jsonschema.

Optional: the document lies beside the project, not in it.
"""

from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from sandbox.calls import Operation
from sandbox.shapes import Json

_BASE = "urn:sandbox:document"
MAX_PROBLEMS = 10


class Specification:
    """One OpenAPI document, its schemas compiled when first asked for."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._validators: dict[str, Draft202012Validator] = {}

    @cached_property
    def _registry(self) -> "Registry[Any]":
        resource = DRAFT202012.create_resource(self.document)
        registry: Registry[Any] = Registry().with_resource(_BASE, resource)
        return registry

    def knows(self, operation: Operation) -> bool:
        """True if the document describes this operation."""
        path = self._path(operation.path)
        return path is not None and operation.method.lower() in self.document["paths"][path]

    def _path(self, path: str) -> str | None:
        """Return the document's spelling of a path, which may name the ids differently."""
        wanted = _anonymous(path)
        return next((p for p in self.document["paths"] if _anonymous(p) == wanted), None)

    def check_answer(self, operation: Operation, status: int, body: Json) -> list[str]:
        """Differences of an answer from the document; none for an unknown operation."""
        if not self.knows(operation):
            return []
        if body.get("deleted") is True:
            return self.check_object(f"deleted_{body['object']}", body)
        answer = "200" if status == 200 else "default"
        schema = self._described(operation)["responses"][answer]["content"]["application/json"]
        return self._check(f"{operation.method} {operation.path} {answer}", schema["schema"], body)

    def check_object(self, name: str, body: Json) -> list[str]:
        """Differences of one object from the document's schema of that name."""
        return self._check(name, {"$ref": f"#/components/schemas/{name}"}, body)

    def parameters(self, operation: Operation) -> set[str]:
        """The names the document lists for a query or a form."""
        described = self._described(operation)
        names = {p["name"] for p in described.get("parameters", []) if p["in"] == "query"}
        content = described.get("requestBody", {}).get("content", {})
        for media in content.values():
            names |= set(self._resolved(media["schema"]).get("properties", {}))
        return names

    def _described(self, operation: Operation) -> Json:
        path = self._path(operation.path)
        if path is None:
            raise LookupError(operation.path)
        described: Json = self.document["paths"][path][operation.method.lower()]
        return described

    def _resolved(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _check(self, name: str, schema: Json, body: Json) -> list[str]:
        if name not in self._validators:
            self._validators[name] = Draft202012Validator(
                _absolute(schema), registry=self._registry
            )
        found = sorted(self._validators[name].iter_errors(body), key=lambda e: list(e.path))
        return [f"{error.json_path}: {error.message[:200]}" for error in found[:MAX_PROBLEMS]]


def _anonymous(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _absolute(schema: Any) -> Any:
    """Point the references of an extracted schema back into the document."""
    if isinstance(schema, dict):
        return {
            key: _BASE + value if key == "$ref" and value.startswith("#") else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(item) for item in schema] if isinstance(schema, list) else schema

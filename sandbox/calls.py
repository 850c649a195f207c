"""One call in progress, and the list of operations that can be called.

A resource declares its operations with `Routes`; each gets a `Call` and answers plain JSON.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox import clock, events, journal, problems
from sandbox.parameters import Fields
from sandbox.settings import Settings
from sandbox.shapes import Json
from sandbox.store import Store


@dataclass
class Call:
    """The tools of an operation while it runs, inside one transaction."""

    store: Store
    settings: Settings
    request: str | None = None
    """The `req_…` id; none when the sandbox acts by itself."""
    key: str | None = None
    """The idempotency key."""
    path: dict[str, str] = field(default_factory=dict)
    params: Json = field(default_factory=dict)
    publishable: bool = False
    """Called with a publishable key, as a browser does: only with the client secret."""

    def now(self, customer: str | None = None) -> int:
        """Return the customer's time in seconds."""
        return clock.now(self.store, customer)

    def emit(
        self, kind: str, subject: Json, previous: Json | None = None, version: str | None = None
    ) -> Json:
        """Emit an event; `previous` contains the old values of an update."""
        request = {"id": self.request, "idempotency_key": self.key}
        return events.emit(
            self.store, self.settings, kind, subject,
            request=request, previous=previous, version=version,
        )  # fmt: skip

    def effect(self, name: str, subject: Json, **details: Any) -> None:
        """Record a movement of money in the journal."""
        journal.write(
            self.store,
            "effect",
            name,
            subject,
            request=self.request,
            key=self.key,
            details=details,
        )

    def load(self, kind: str, object_id: str, param: str | None = None) -> Json:
        """Return an object by id; if unknown, 404 for an id in the path, 400 for a parameter."""
        found = self.store.get(kind, object_id)
        if found is None:
            noun = {"test_helpers.test_clock": "test clock"}.get(kind, kind.rpartition(".")[2])
            raise problems.no_such(noun, object_id, param)
        return found

    def load_intent(self, kind: str) -> Json:
        """Return the path's intent; a publishable key needs its client secret."""
        intent = self.load(kind, self.path["intent"], "intent")
        if self.publishable and self.params.get("client_secret") != intent["client_secret"]:
            raise problems.no_such(kind, intent["id"], "intent")
        return intent


Run = Callable[[Call], Json]


@dataclass(frozen=True)
class Operation:
    """One method and path, the parameters it takes, and what it does."""

    method: str
    path: str
    fields: Fields
    run: Run
    publishable: bool = False
    """A browser may call it with a publishable key and the client secret."""


class Routes:
    """The operations of one resource, in the order they are declared."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def add(
        self, method: str, path: str, fields: Fields | None = None, *, publishable: bool = False
    ) -> Callable[[Run], Run]:
        """Declare the decorated function as an operation."""

        def declare(run: Run) -> Run:
            self.operations.append(Operation(method, path, fields or {}, run, publishable))
            return run

        return declare

    def get(self, path: str, fields: Fields | None = None, **more: bool) -> Callable[[Run], Run]:
        """Declare a GET operation."""
        return self.add("GET", path, fields, **more)

    def post(self, path: str, fields: Fields | None = None, **more: bool) -> Callable[[Run], Run]:
        """Declare a POST operation."""
        return self.add("POST", path, fields, **more)

    def delete(self, path: str) -> Callable[[Run], Run]:
        """Declare a DELETE operation."""
        return self.add("DELETE", path)

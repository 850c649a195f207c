"""Each route needs the role that roles.txt says; that table is written by hand from the docs."""

from pathlib import Path
from typing import Final

from api.document.openapi import api_routes
from api.gates import OperatorGate, TenantGate
from api.requests.fastapi_internals import dependency_calls
from api.routes.base import PREFIX
from tests.api_document import APP

TABLE: Final = Path(__file__).with_name("roles.txt")


def written() -> list[tuple[str, str]]:
    """(method and path, role) of each line of the table."""
    role, found = "", []
    for line in TABLE.read_text().splitlines():
        if line.startswith("["):
            role = line.strip("[]")
        elif line and not line.startswith("#"):
            found.append((line, role))
    return found


def served() -> list[tuple[str, str]]:
    """(method and path, role) of each route, by the gate in front of it."""
    found = []
    for route in api_routes(APP):
        gates = [
            gate for gate in dependency_calls(route) if isinstance(gate, (OperatorGate, TenantGate))
        ]
        role = " and ".join(gate.needs for gate in gates) or "open"
        path = route.path_format.removeprefix(PREFIX)
        found += [(f"{method} {path}", role) for method in route.methods or ()]
    return found


def test_each_route_needs_the_role_of_the_table() -> None:
    assert set(served()) ^ set(written()) == set(), f"change {TABLE.name}"
    assert len(served()) == len(written()), f"a line stands twice in {TABLE.name}"

"""Every route, with own, foreign and missing ids, for every role: foreign is as missing [A6, A8].

The cases come from the route table, so a new route is in the matrix the day it is registered; the
ids and bodies it needs come from route_samples.py, and without them this file is red.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select

from api.document.openapi import api_routes
from api.gates import EveryGate, OperatorGate, ReadGate, RecordGate, TenantGate
from api.requests.fastapi_internals import dependency_calls
from billing.core import ids
from billing.core.database import metadata
from tests.api_document import APP, DOCUMENT
from tests.integration.api.route_samples import BODIES, FREE, MAKERS, SHARED, Account
from tests.integration.api_app import Api

GATES: Final = (TenantGate, OperatorGate)
ROLES: Final = ("member", "billing", "admin")
SAME: Final = {"X-Correlation-Id": "the-same"}
NOT_YET: Final[dict[str, int]] = {
    "download_receipt": 409, "get_contract": 404, "read_contract": 404,
}  # fmt: skip
"""Reads of one's own thing that its state does not let be answered yet, or that is not there."""


def _resolved(schema: Any) -> Any:
    name = schema.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][name] if name else schema


def _values(field: Any) -> list[Any]:
    """The values that a field takes when they are few; none when they are many."""
    parts = [_resolved(part) for part in field.get("anyOf", [field])]
    found = [value for part in parts for value in part.get("enum", [part.get("const")])]
    truths = [value for part in parts if part.get("type") == "boolean" for value in (False, True)]
    return [*filter(None, found), *truths]


@dataclass(frozen=True)
class Operation:
    """One method of one route, and every name in it that stands for a thing."""

    route: APIRoute
    method: str

    def __str__(self) -> str:
        return f"{self.method} {self.route.path}"

    @property
    def described(self) -> dict[str, Any]:
        """The operation in the OpenAPI document."""
        found: dict[str, Any] = DOCUMENT["paths"][self.route.path_format][self.method.lower()]
        return found

    @property
    def gate(self) -> Any:
        """The dependency that proves its caller; None for open routes."""
        return next(
            (gate for gate in dependency_calls(self.route) if isinstance(gate, GATES)), None
        )

    @property
    def has_body(self) -> bool:
        """True if it takes a body."""
        return "requestBody" in self.described

    def parameters(self, where: str, *, required: bool = False) -> list[str]:
        """Names of its parameters in the path or the query."""
        known = self.described.get("parameters", ())
        found = [one for one in known if one["in"] == where]
        return [one["name"] for one in found if one["required"] or not required]

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of its body."""
        if not self.has_body:
            return {}
        schema = self.described["requestBody"]["content"]["application/json"]["schema"]
        found: dict[str, Any] = _resolved(schema)
        return found

    def body_slots(self) -> list[str]:
        """Names in the body that stand for a thing of one account."""
        asked = Asked()
        if self.has_body and self.described["operationId"] in BODIES:
            BODIES[self.described["operationId"]](asked)
        return [name for name in dict.fromkeys(asked.names) if name not in SHARED]

    def choices(self) -> list[tuple[str, Any]]:
        """Every value of every field of the body that takes a few known values."""
        fields = self.schema.get("properties", {})
        return [(name, value) for name, field in fields.items() for value in _values(field)]

    def slots(self) -> list[str]:
        """Names in path, query and body that stand for a thing of one account."""
        query = [name for name in self.parameters("query") if name.endswith("_id")]
        named = [*self.parameters("path"), *query, *self.body_slots()]
        return [name for name in dict.fromkeys(named) if name not in SHARED]


class Asked(dict[str, str]):
    """Remembers which names a body asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, name: str) -> str:
        self.names.append(name)
        return name


@dataclass
class TwoAccounts:
    """Two accounts with a thing of every kind each."""

    api: Api
    own: Account
    foreign: Account
    things: dict[str, dict[str, str]] = field(default_factory=dict)

    def caller(self, role: str) -> dict[str, str]:
        """A caller for the own account: of it, or an operator who names it."""
        if role == "admin":
            return self.api.admin() | {"X-Account-Id": self.own["id"]}
        return self.api.token(self.own["id"], [role])

    def named(self, slot: str, whose: str) -> dict[str, str]:
        """All names as the account's own, but this one."""
        return self.things["own"] | {slot: self.things[whose][slot]}

    async def send(
        self,
        operation: Operation,
        named: Mapping[str, str],
        headers: Mapping[str, str],
        **fields: Any,
    ) -> httpx2.Response:
        """One request with these names filled in, and these fields of the body changed."""
        path = operation.route.path_format
        for name in operation.parameters("path"):
            path = path.replace(f"{{{name}}}", named.get(name) or SHARED[name])
        required = operation.parameters("query", required=True)
        query = {name: SHARED[name] for name in required if name in SHARED}
        query |= {name: named[name] for name in operation.parameters("query") if name in named}
        body = None
        if operation.has_body:
            body = BODIES[operation.described["operationId"]](named) | fields
        return await self.api.client.request(
            operation.method,
            path,
            params=query,
            json=body,
            headers={"Idempotency-Key": uuid4().hex} | SAME | dict(headers),
        )


OPERATIONS: Final = [
    Operation(route, method)
    for route in api_routes(APP)
    for method in sorted(route.methods or ())
    if not route.path.endswith(("/webhooks/stripe", "/webhooks/paypal"))
]
GUARDED: Final = [operation for operation in OPERATIONS if operation.gate is not None]
OF_ACCOUNTS: Final = [op for op in GUARDED if isinstance(op.gate, TenantGate)]
SLOTS: Final = [
    pytest.param(operation, slot, id=f"{operation} {slot}")
    for operation in GUARDED
    for slot in operation.slots()
]


CHOICES: Final = [
    pytest.param(operation, slot, name, value, id=f"{operation} {slot} {name}={value}")
    for operation in OF_ACCOUNTS
    for slot in operation.body_slots()
    for name, value in operation.choices()
]


@pytest.fixture(scope="module")
async def accounts(api: Api) -> TwoAccounts:
    made = TwoAccounts(
        api,
        await api.new_account(is_test=True),
        await api.new_account(is_test=True, name="The other shop"),
    )
    for whose, account in (("own", made.own), ("foreign", made.foreign)):
        made.things[whose] = {name: await make(api, account) for name, make in MAKERS.items()}
    made.things["missing"] = {name: like(thing) for name, thing in made.things["own"].items()}
    return made


def like(thing: str) -> str:
    """An id of the same kind that nobody has."""
    return ids.encode(thing.partition("_")[0], ids.new())


def told(answer: httpx2.Response) -> tuple[int, bytes, str | None]:
    """All that a caller learns from an answer, besides when it was given."""
    content = re.sub(rb'"as_of":"[^"]+"', b"", answer.content)
    return answer.status_code, content, answer.headers.get("content-type")


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_every_route_has_the_samples_it_needs(operation: Operation) -> None:
    name = operation.described["operationId"]
    assert not operation.has_body or name in BODIES, f"add a body for {name} to route_samples.py"
    unknown = [slot for slot in operation.slots() if slot not in MAKERS]
    assert not unknown, f"add makers for {unknown} to route_samples.py, or say that they are shared"


@pytest.mark.parametrize("operation", [op for op in OPERATIONS if op.has_body], ids=str)
def test_no_id_of_a_body_is_left_out_of_its_specimen(operation: Operation) -> None:
    """Every field that is called an id is asked for, so that the matrix turns it."""
    schema = operation.described["requestBody"]["content"]["application/json"]["schema"]
    fields = set(_fields(schema))
    ours = {name for name in fields if name.endswith("_id") and not name.startswith("stripe_")}
    free = FREE.get(operation.described["operationId"], frozenset())
    assert ours - {"external_id", *SHARED} - free <= set(operation.slots())


def _fields(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _fields(item)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            yield from _fields(DOCUMENT["components"]["schemas"][name])
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from _fields(value)


@pytest.mark.parametrize("operation", GUARDED, ids=str)
async def test_nobody_is_told_the_same_everywhere(
    accounts: TwoAccounts, operation: Operation
) -> None:
    answers = [
        await accounts.send(operation, accounts.things[whose], {})
        for whose in ("own", "foreign", "missing")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({told(answer) for answer in answers}) == 1


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("operation", "slot"), SLOTS)
async def test_a_foreign_thing_is_as_missing_as_a_missing_one(
    accounts: TwoAccounts, operation: Operation, slot: str, role: str
) -> None:
    missing = await accounts.send(operation, accounts.named(slot, "missing"), accounts.caller(role))
    if role == "admin" and isinstance(operation.gate, OperatorGate):
        assert missing.status_code == 404
        return  # to an operator no account is foreign
    foreign = await accounts.send(operation, accounts.named(slot, "foreign"), accounts.caller(role))
    assert told(foreign) == told(missing)
    allowed = role in operation.gate.roles
    if slot in operation.parameters("query"):
        assert foreign.status_code == (200 if allowed else 403)
        assert not allowed or foreign.json()["data"] == []
    else:
        assert foreign.status_code == (404 if allowed else 403)


@pytest.mark.parametrize(("operation", "slot", "name", "value"), CHOICES)
async def test_a_foreign_thing_in_a_body_is_missing_whatever_else_the_body_says(
    accounts: TwoAccounts, operation: Operation, slot: str, name: str, value: Any
) -> None:
    caller = accounts.caller("billing")
    answers = [
        await accounts.send(operation, accounts.named(slot, whose), caller, **{name: value})
        for whose in ("foreign", "missing")
    ]
    assert {answer.status_code for answer in answers} <= {403, 404, 422}, answers[0].text
    assert len({told(answer) for answer in answers}) == 1


@pytest.mark.parametrize(
    ("operation", "slot"),
    [(operation, slot) for operation in OF_ACCOUNTS for slot in operation.slots()],
    ids=str,
)
async def test_what_is_no_id_is_as_missing_as_a_missing_one(
    accounts: TwoAccounts, operation: Operation, slot: str
) -> None:
    caller = accounts.caller("billing")
    missing = await accounts.send(operation, accounts.named(slot, "missing"), caller)
    for odd in ("x", "mth_0", "' OR 1=1", "0" * 40):
        named = accounts.things["own"] | {slot: odd}
        answer = await accounts.send(operation, named, caller)
        assert (answer.status_code, answer.json().get("code")) == (
            missing.status_code, missing.json().get("code"),
        ), odd  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", [op for op in GUARDED if op.method == "GET"], ids=str)
async def test_what_is_ones_own_is_there_and_nothing_else(
    accounts: TwoAccounts, operation: Operation, role: str
) -> None:
    answer = await accounts.send(operation, accounts.things["own"], accounts.caller(role))
    answered = NOT_YET.get(operation.described["operationId"], 200)
    assert answer.status_code == (answered if role in operation.gate.roles else 403), answer.text
    if isinstance(operation.gate, OperatorGate):
        return
    for hidden in (*accounts.things["foreign"].values(), accounts.foreign["external_id"]):
        assert hidden not in answer.text


@pytest.mark.parametrize("role", ["member", "billing"])
@pytest.mark.parametrize("operation", OF_ACCOUNTS, ids=str)
async def test_a_caller_cannot_name_another_account(
    accounts: TwoAccounts, operation: Operation, role: str
) -> None:
    names = (
        accounts.foreign["id"],
        accounts.foreign["external_id"],
        like(accounts.own["id"]),
        "nobody",
    )
    answers = [
        await accounts.send(
            operation, accounts.things["foreign"], accounts.caller(role) | {"X-Account-Id": name}
        )
        for name in names
    ]
    assert {answer.status_code for answer in answers} <= {403, 404}
    assert len({told(answer) for answer in answers}) == 1


@pytest.mark.parametrize("operation", OF_ACCOUNTS, ids=str)
async def test_an_operator_must_name_one_that_exists(
    accounts: TwoAccounts, operation: Operation
) -> None:
    unnamed = await accounts.send(operation, accounts.things["own"], accounts.api.admin())
    if isinstance(operation.gate, (EveryGate, RecordGate)):
        assert unnamed.status_code == 200  # sums over all accounts, or a record that names its own
        return
    assert (unnamed.status_code, unnamed.json()["code"]) == (400, "ACCOUNT_REQUIRED")
    for name in ("nobody", like(accounts.own["id"])):
        headers = accounts.api.admin() | {"X-Account-Id": name}
        answer = await accounts.send(operation, accounts.things["own"], headers)
        if not isinstance(operation.gate, ReadGate):
            assert (answer.status_code, answer.json()["code"]) == (404, "MERCHANT_NOT_FOUND")
        else:
            assert answer.status_code in {200, 404}
            assert json.dumps(accounts.things["own"]) not in answer.text


async def test_no_attempt_left_a_trace_in_the_other_account(accounts: TwoAccounts) -> None:
    """Runs last: of all that was asked above, nothing was done or claimed in the other account."""
    account_id = ids.decode(ids.ACCOUNT, accounts.foreign["id"])
    audit, keys = metadata.tables["billing_audit"], metadata.tables["billing_idempotency"]
    async with accounts.api.database.operator() as connection:
        done = await connection.execute(
            select(audit.c.action).where(
                audit.c.account_id == account_id, audit.c.actor.not_like("system%")
            )
        )
        assert done.scalars().all() == ["account.created"]
        claimed = await connection.execute(select(keys).where(keys.c.account_id == account_id))
        assert claimed.all() == []

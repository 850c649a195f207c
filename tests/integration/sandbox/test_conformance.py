"""The checker itself: what it must notice, and that our declared parameters are Stripe's."""

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
import typing_extensions

from sandbox import conformance
from sandbox.calls import Operation
from sandbox.operations import OPERATIONS
from sandbox.parameters import Fields
from sandbox.specification import Specification
from tests.integration.sandbox.support import SPEC

OURS = {"client_secret", "payment_method_types"}
"""A browser's parameter, and the one that is declared only to be refused."""

BEYOND = {"/v1/billing_portal/sessions", "/v1/tax/calculations"}
"""Left out of the document; the SDK's annotations hold them all the same."""


def named(operation: Operation) -> str:
    """A test's name for an operation."""
    return f"{operation.method} {operation.path}"


@pytest.fixture
async def intent(v1: Any, customer: str) -> dict[str, Any]:
    """A paid intent as the sandbox answers it."""
    paid = await v1.payment_intents.create_async(
        {
            "amount": 999,
            "currency": "usd",
            "customer": customer,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "expand": ["latest_charge"],
        }
    )
    return dict(json.loads(str(paid)))


async def test_a_good_answer_has_nothing_to_complain_about(intent: dict[str, Any]) -> None:
    assert conformance.check_object(intent) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda body: body.update(status="paid"), ".status is 'paid'"),
        (lambda body: body.update(amount="999"), ".amount must be int, is '999'"),
        (lambda body: body.update(amount=9.99), ".amount must be int"),
        (lambda body: body.update(livemode=0), ".livemode must be bool"),
        (lambda body: body.update(charges=[]), ".charges is unknown to the SDK"),
        (lambda body: body.pop("currency"), ".currency is missing"),
        (lambda body: body["latest_charge"].update(paid=None), ".latest_charge.paid"),
        (lambda body: body["metadata"].update(a=1), ".metadata[a] must be str"),
        (lambda body: body["latest_charge"]["outcome"].update(advice_code="hope"), "advice_code"),
        (lambda body: body.update(object="payment"), "unknown object name"),
    ],
)
async def test_a_spoilt_answer_is_noticed(intent: dict[str, Any], spoil: Any, problem: str) -> None:
    spoil(intent)
    found = conformance.check_object(intent)
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"amount": 1, "currency": "usd", "payment_method_types": ["card"]}, "no parameter"),
        ({"amount": 1, "currency": "usd", "capture_method": "late"}, ".capture_method is 'late'"),
        ({"amount": "1", "currency": "usd"}, ".amount must be int"),
        ({"currency": "usd"}, ".amount is missing"),
        ({"amount": 1, "currency": "usd", "idempotency_key": "k"}, "no parameter"),
        ({"amount": 1, "currency": "usd", "shipping": {"name": "A"}}, ".shipping.address"),
    ],
)
def test_a_spoilt_request_is_noticed(params: dict[str, Any], problem: str) -> None:
    found = conformance.check_params("POST", "/v1/payment_intents", params)
    assert any(problem in line for line in found), found


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_every_parameter_we_take_is_one_the_sdk_sends(operation: Operation) -> None:
    sdk = conformance.params_type(operation.method, operation.path)
    assert list(_foreign(operation.fields, sdk, "")) == []


def _foreign(fields: Fields, sdk: Any, where: str) -> Iterator[str]:
    """Names and enum words of ours that the SDK's annotations do not have."""
    known = conformance.fields_of(sdk)
    for name, shape in fields.items():
        if not where and name in OURS:
            continue
        if name not in known:
            yield f"{where}{name}"
            continue
        words = set(_words(known[name]))
        if shape.takes == "enum" and words and not set(shape.choices) <= words:
            yield f"{where}{name}: {set(shape.choices) - words}"
        for nested in _dictionaries(known[name]) if shape.fields else ():
            if shape.takes == "object":
                yield from _foreign(shape.fields or {}, nested, f"{where}{name}.")


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    if get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from _parts(part)


def _words(kind: Any) -> Iterator[str]:
    for part in _parts(kind):
        if get_origin(part) is Literal:
            yield from get_args(part)


def _dictionaries(kind: Any) -> list[Any]:
    return [part for part in _parts(kind) if typing_extensions.is_typeddict(part)]


@pytest.mark.skipif(not SPEC.exists(), reason=f"there is no {SPEC.name} beside the project")
@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_every_operation_and_its_parameters_are_in_the_document(operation: Operation) -> None:
    if operation.path in BEYOND:
        return
    document = Specification(json.loads(SPEC.read_text()))
    assert document.knows(operation)
    assert set(operation.fields) - OURS <= document.parameters(operation)


@pytest.mark.skipif(not SPEC.exists(), reason=f"there is no {SPEC.name} beside the project")
async def test_the_document_notices_a_spoilt_answer(intent: dict[str, Any]) -> None:
    document = Specification(json.loads(SPEC.read_text()))
    assert document.check_object("payment_intent", intent) == []
    assert document.check_object("payment_intent", {**intent, "status": "paid"}) != []

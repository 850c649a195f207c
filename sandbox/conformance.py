"""Compares requests and answers with the installed SDK's annotations and an OpenAPI document.

Names, required keys, types and enum values are compared. Each difference is recorded once per
place; the test suite asserts that there is none.
"""

import ast
import importlib
import inspect
import json
import typing
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import stripe
import typing_extensions
from stripe import StripeObject

from sandbox.control_plane import SYNTHETIC
from sandbox.envelope import Answer, Incoming
from sandbox.shapes import Json
from sandbox.store import Store

if TYPE_CHECKING:
    from sandbox.specification import Specification

PARAMS: dict[tuple[str, str], str] = {
    ("POST", "/v1/customers"): "customer_create",
    ("GET", "/v1/customers"): "customer_list",
    ("GET", "/v1/customers/{customer}"): "customer_retrieve",
    ("POST", "/v1/customers/{customer}"): "customer_update",
    ("DELETE", "/v1/customers/{customer}"): "customer_delete",
    ("GET", "/v1/customers/{customer}/payment_methods"): "customer_list_payment_methods",
    (
        "GET",
        "/v1/customers/{customer}/payment_methods/{payment_method}",
    ): "customer_retrieve_payment_method",
    ("POST", "/v1/payment_methods"): "payment_method_create",
    ("GET", "/v1/payment_methods"): "payment_method_list",
    ("GET", "/v1/payment_methods/{payment_method}"): "payment_method_retrieve",
    ("POST", "/v1/payment_methods/{payment_method}"): "payment_method_update",
    ("POST", "/v1/payment_methods/{payment_method}/attach"): "payment_method_attach",
    ("POST", "/v1/payment_methods/{payment_method}/detach"): "payment_method_detach",
    ("POST", "/v1/payment_intents"): "payment_intent_create",
    ("GET", "/v1/payment_intents"): "payment_intent_list",
    ("GET", "/v1/payment_intents/{intent}"): "payment_intent_retrieve",
    ("POST", "/v1/payment_intents/{intent}"): "payment_intent_update",
    ("POST", "/v1/payment_intents/{intent}/confirm"): "payment_intent_confirm",
    ("POST", "/v1/payment_intents/{intent}/capture"): "payment_intent_capture",
    ("POST", "/v1/payment_intents/{intent}/cancel"): "payment_intent_cancel",
    ("POST", "/v1/setup_intents"): "setup_intent_create",
    ("GET", "/v1/setup_intents"): "setup_intent_list",
    ("GET", "/v1/setup_intents/{intent}"): "setup_intent_retrieve",
    ("POST", "/v1/setup_intents/{intent}"): "setup_intent_update",
    ("POST", "/v1/setup_intents/{intent}/confirm"): "setup_intent_confirm",
    ("POST", "/v1/setup_intents/{intent}/cancel"): "setup_intent_cancel",
    ("POST", "/v1/checkout/sessions"): "checkout.session_create",
    ("GET", "/v1/checkout/sessions"): "checkout.session_list",
    ("GET", "/v1/checkout/sessions/{session}"): "checkout.session_retrieve",
    ("POST", "/v1/checkout/sessions/{session}"): "checkout.session_update",
    ("POST", "/v1/checkout/sessions/{session}/expire"): "checkout.session_expire",
    ("GET", "/v1/checkout/sessions/{session}/line_items"): "checkout.session_list_line_items",
    ("POST", "/v1/tax/calculations"): "tax.calculation_create",
    ("POST", "/v1/billing_portal/sessions"): "billing_portal.session_create",
    ("GET", "/v1/charges"): "charge_list",
    ("GET", "/v1/charges/{charge}"): "charge_retrieve",
    ("POST", "/v1/refunds"): "refund_create",
    ("GET", "/v1/refunds"): "refund_list",
    ("GET", "/v1/refunds/{refund}"): "refund_retrieve",
    ("POST", "/v1/refunds/{refund}"): "refund_update",
    ("POST", "/v1/refunds/{refund}/cancel"): "refund_cancel",
    ("GET", "/v1/balance_transactions"): "balance_transaction_list",
    ("GET", "/v1/balance_transactions/{id}"): "balance_transaction_retrieve",
    ("GET", "/v1/events"): "event_list",
    ("GET", "/v1/events/{id}"): "event_retrieve",
    ("GET", "/v1/disputes"): "dispute_list",
    ("GET", "/v1/disputes/{dispute}"): "dispute_retrieve",
    ("POST", "/v1/test_helpers/test_clocks"): "test_helpers.test_clock_create",
    ("GET", "/v1/test_helpers/test_clocks"): "test_helpers.test_clock_list",
    ("GET", "/v1/test_helpers/test_clocks/{test_clock}"): "test_helpers.test_clock_retrieve",
    ("DELETE", "/v1/test_helpers/test_clocks/{test_clock}"): "test_helpers.test_clock_delete",
    (
        "POST",
        "/v1/test_helpers/test_clocks/{test_clock}/advance",
    ): "test_helpers.test_clock_advance",
}
"""Each operation and the module of the SDK that annotates its parameters."""

_SDK_ONLY = frozenset(stripe.RequestOptions.__annotations__) | {"content_type", "headers"}
MAX_PROBLEMS = 20
SECRET = "client_secret"  # noqa: S105  a parameter's name


@cache
def params_type(method: str, path: str) -> type:
    """Return the TypedDict of an operation's parameters; `LookupError` for an unknown operation."""
    name = PARAMS[method, path]
    package, _, noun = name.rpartition(".")
    dotted = ".".join(filter(None, ("stripe.params", package, f"_{noun}_params")))
    module = importlib.import_module(dotted)
    title = "".join(part.capitalize() for part in noun.split("_")) + "Params"
    found: type = getattr(module, title)
    return found


@cache
def _names(module: ModuleType) -> dict[str, Any]:
    """Names that a module's annotations may use: its globals, and its imports for type checkers."""
    found = dict(vars(module))
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module:
                    source = importlib.import_module(line.module)
                    for alias in line.names:
                        found[alias.asname or alias.name] = getattr(source, alias.name)
    return found


@cache
def fields_of(shape: Any) -> dict[str, Any]:
    """The annotated fields of an SDK class, resolved; Required and NotRequired are kept."""
    fields: dict[str, Any] = {}
    for base in reversed(typing_extensions.get_original_bases(shape)):
        origin = get_origin(base) or base
        if isinstance(origin, type) and origin.__module__.startswith("stripe"):
            fields |= fields_of(origin)
    module = importlib.import_module(shape.__module__)
    names = {**_names(module), **{k: v for k, v in vars(shape).items() if isinstance(v, type)}}
    for name, annotation in vars(shape).get("__annotations__", {}).items():
        fields[name] = _resolved(annotation, names)
    return {name: kind for name, kind in fields.items() if _is_field(name, kind)}


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    probe = type("_Probe", (), {"__annotations__": {"field": annotation}})
    hints = typing_extensions.get_type_hints(probe, names, names, include_extras=True)
    return hints["field"]


def _is_field(name: str, kind: Any) -> bool:
    return not name.startswith("_") and get_origin(kind) is not typing.ClassVar


@cache
def objects() -> dict[str, type[StripeObject]]:
    """Every top-level object of the SDK by its `object` name."""
    from stripe._object_classes import get_object_class

    names = {"customer", "payment_method", "payment_intent", "setup_intent", "charge", "refund"}
    names |= {"balance_transaction", "checkout.session", "event", "dispute", "item", "price"}
    names |= {"test_helpers.test_clock", "tax.calculation"}
    return {name: get_object_class("V1", name) for name in names}


def check_object(body: Any) -> list[str]:
    """Differences of one object, or one list of objects, from the SDK's annotations."""
    if not isinstance(body, dict):
        return ["is no object"]
    kind = body.get("object")
    if kind == "list":
        return [
            f"data[{place}]{problem}"
            for place, item in enumerate(body.get("data", []))
            for problem in check_object(item)
        ]
    if body.get("deleted") is True:
        extra = set(body) - {"id", "object", "deleted"}
        return [f".{name} is on a deleted object" for name in sorted(extra)]
    if kind not in objects():
        return [f" has the unknown object name {kind!r}"]
    found = list(_object(body, objects()[kind], ""))
    if kind == "event" and _caused(body):
        found += [f".data.object{problem}" for problem in check_object(body["data"]["object"])]
    return found


def _caused(event: Json) -> bool:
    """True if the sandbox made the event itself; a test may send any object it likes."""
    known = event["data"]["object"].get("object") in objects()
    return known and not str(event["request"]["id"]).startswith(SYNTHETIC)


def check_error(body: Json) -> list[str]:
    """Differences of an error answer from the SDK's ErrorObject."""
    error = body.get("error", {})
    found = list(_object(error, stripe.ErrorObject, "error"))
    return [problem for problem in found if " is missing" not in problem]


def check_params(method: str, path: str, params: Json) -> list[str]:
    """Typed parameters that the SDK would not send."""
    return list(_typed_dict(params, params_type(method, path), ""))


def _value(value: Any, kind: Any, where: str) -> Iterator[str]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return
    if origin in (typing.Union, UnionType):
        yield from _either(value, arguments, where)
    elif origin is Literal:
        if value not in arguments:
            yield f"{where} is {value!r}, not one of {sorted(map(str, arguments))[:8]}"
    elif origin in (list, typing.List):  # noqa: UP006  the SDK writes both
        yield from _list(value, arguments[0], where)
    elif origin in (dict, typing.Dict) or "Untyped" in getattr(origin, "__name__", ""):  # noqa: UP006
        yield from _map(value, arguments[-1], where)
    elif origin in (typing_extensions.NotRequired, typing_extensions.Required):
        yield from _value(value, arguments[0], where)
    elif isinstance(origin, type) and issubclass(origin, stripe.ListObject):
        yield from _page(value, arguments[0], where)
    else:
        yield from _plain(value, kind, where)


def _plain(value: Any, kind: Any, where: str) -> Iterator[str]:
    if typing_extensions.is_typeddict(kind):
        yield from _typed_dict(value, kind, where)
    elif isinstance(kind, type) and issubclass(kind, StripeObject):
        yield from _object(value, kind, where)
    elif kind is Decimal:
        if not isinstance(value, str):
            yield f"{where} must be a decimal in a string"
    elif kind is float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            yield f"{where} must be a number, is {value!r}"
    elif type(value) is not kind:
        yield f"{where} must be {getattr(kind, '__name__', kind)}, is {value!r}"


def _either(value: Any, kinds: tuple[Any, ...], where: str) -> Iterator[str]:
    """Accept any branch; drop the plain str of `Literal[...] | str`: only known words pass."""
    if value is None and NoneType in kinds:
        return
    flat = [kind for kind in kinds if kind is not NoneType]
    words = [kind for kind in flat if get_origin(kind) is Literal]
    if words and str in flat and any(args != ("",) for args in map(get_args, words)):
        flat.remove(str)
    best: list[str] | None = None
    for kind in _likely(value, flat):
        found = list(_value(value, kind, where))
        if not found:
            return
        if best is None or len(found) < len(best):
            best = found
    yield from best if best is not None else [f"{where} must not be {value!r}"]


def _likely(value: Any, kinds: list[Any]) -> list[Any]:
    """Return the classes with the object name of the value; all of them if none has it."""
    if isinstance(value, dict) and value.get("object"):
        named = [k for k in kinds if getattr(k, "OBJECT_NAME", None) == value["object"]]
        return named or kinds
    return kinds


def _list(value: Any, kind: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where} must be a list, is {value!r}"
        return
    for place, item in enumerate(value):
        yield from _value(item, kind, f"{where}[{place}]")


def _map(value: Any, kind: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} must be a map, is {value!r}"
        return
    for key, item in value.items():
        yield from _value(item, kind, f"{where}[{key}]")


def _page(value: Any, kind: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict) or set(value) != {"object", "data", "has_more", "url"}:
        yield f"{where} must be a list object"
        return
    yield from _list(value["data"], kind, f"{where}.data")


def _object(value: Any, shape: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} must be an object, is {value!r}"
        return
    if value.get("deleted") is True:
        return
    fields = fields_of(shape)
    for name, inner in value.items():
        if name in fields:
            yield from _value(inner, fields[name], f"{where}.{name}")
        elif fields:
            yield f"{where}.{name} is unknown to the SDK"
    for name, kind in fields.items():
        if name not in value and NoneType not in get_args(kind):
            yield f"{where}.{name} is missing"


def _typed_dict(value: Any, shape: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} must be a map, is {value!r}"
        return
    fields = {k: v for k, v in fields_of(shape).items() if where or k not in _SDK_ONLY}
    for name, inner in value.items():
        place = f"{where}.{name}"
        if name not in fields:
            yield f"{place} is no parameter of the SDK"
        elif inner is not None:  # None is how the sandbox reads an empty string
            yield from _value(inner, fields[name], place)
    for name, kind in fields.items():
        optional = get_origin(kind) is typing_extensions.NotRequired
        if name not in value and not optional:
            yield f"{where}.{name} is missing"


class Recorder:
    """Checks each exchange of a running sandbox and writes down what differs."""

    def __init__(self, store: Store, spec: Path | None) -> None:
        self._store = store
        self._spec = _specification(spec) if spec else None

    def check(self, incoming: Incoming, params: Json | None, answer: Answer) -> None:
        """Check one exchange; of a refusal only the error object is checked."""
        operation = incoming.operation
        place = f"{operation.method} {operation.path}"
        if (operation.method, operation.path) not in PARAMS:
            return
        if answer.status != 200:
            self._record(f"{place} error {answer.status}", check_error(answer.body))
        else:
            self._record(f"{place} answer", check_object(answer.body))
        if params is not None and answer.status in (200, 402):
            sent = {k: v for k, v in params.items() if not incoming.publishable or k != SECRET}
            found = check_params(operation.method, operation.path, sent)
            self._record(f"{place} request", found)
        if self._spec:
            found = self._spec.check_answer(operation, answer.status, answer.body)
            self._record(f"{place} answer by the document", found)

    def _record(self, place: str, problems: list[str]) -> None:
        if not problems:
            return
        with self._store.transaction():
            for problem in problems[:MAX_PROBLEMS]:
                self._store.run(
                    "INSERT OR IGNORE INTO violations (place, problem) VALUES (?, ?)",
                    place,
                    problem,
                )


def _specification(path: Path) -> "Specification":
    """Import jsonschema, a development tool, only when there is a document."""
    from sandbox.specification import Specification

    return Specification(json.loads(path.read_text()))

"""A use has one list of fields: single uses, batches, OpenAPI, the client and files go by it."""

import io
import json
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from api.edge import request_limits
from api.requests import exact_json
from api.routes.quotas import CheckBody
from api.usage import batch_parser
from api.usage.body import UseBody, UseRow, Word, read_use
from billing.core.errors import Invalid
from cli.usage_file import UsageFile
from durable_billing import events
from durable_billing.errors import InvalidEvent
from tests.api_document import DOCUMENT

SINGLE = TypeAdapter(UseBody)
OF_ONE = UseBody.__struct_fields__
OF_ROW = UseRow.__struct_fields__


def test_the_document_has_every_field_of_a_use() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert tuple(schemas["UseBody"]["properties"]) == OF_ONE
    rows = schemas["RecordUsageBatchBody"]["properties"]["events"]["items"]
    assert rows == {"$ref": "#/components/schemas/UseRow"}
    assert tuple(schemas["UseRow"]["properties"]) == OF_ROW


def test_the_client_and_files_know_every_field_of_a_row() -> None:
    assert frozenset(OF_ROW) == events.FIELDS
    file = io.BytesIO(",".join(OF_ROW).encode() + b"\n" + b",".join([b"1"] * len(OF_ROW)) + b"\n")
    (line,) = UsageFile(file, "csv", events.FIELDS)
    assert set(line.row) == set(OF_ROW)


def test_the_client_knows_every_field_of_a_check() -> None:
    known = events.Check.__annotations__.keys() - {"account_id", "external_id"}
    assert CheckBody.model_fields.keys() - {"requested_amount", "consume"} == known


def test_a_new_field_is_one_line() -> None:
    class Wider(UseBody):
        region: Word | None = None

    sent = b'{"usage_amount": "1", "product_id": "p", "region": "eu"}'
    assert TypeAdapter(Wider).validate_json(sent).region == "eu"
    assert msgspec.json.decode(sent, type=Wider).region == "eu"
    assert "region" in TypeAdapter(Wider).json_schema()["properties"]
    assert "region" in msgspec.json.schema(Wider)["$defs"]["Wider"]["properties"]
    blank = sent.replace(b"eu", b"")
    with pytest.raises(ValidationError, match="region"):
        TypeAdapter(Wider).validate_json(blank)
    with pytest.raises(msgspec.ValidationError, match="region"):
        msgspec.json.decode(blank, type=Wider)


words = st.sampled_from(["a", " a ", "", " ", "x" * 255, "x" * 256, 7, None, ["a"]])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "usage_amount": st.one_of(
        st.sampled_from(
            [
                "1",
                "0",
                "-1",
                "+1",
                "1.",
                ".5",
                "0.000000000001",
                "1e3",
                "1_0",
                "",
                1,
                0,
                -1,
                1.5,
                0.1,
                1e20,
                1e-13,
                True,
                10**15,
            ]
        ),
        st.from_regex(r"\A[0-9]{1,17}(\.[0-9]{1,14})?\Z").filter(lambda text: text.isascii()),
    ),
    "service_type": st.sampled_from(["api_gateway", "nothing", None]),
    "billing_method": st.sampled_from(["wallet_deduction", "barter", None]),
    "on_insufficient": st.sampled_from(["reject", "defer", "shrug"]),
    "occurred_at": st.sampled_from(
        ["2026-12-01T09:00:00Z", "2026-12-01T09:00:00", "2026-12-01", "9999-12-31T23:59:59-05:00"]
    ),
    "usage_details": st.sampled_from([{"a": [1, {"b": None}]}, {}, [], "a", None]),
    "unknown": st.just("1"),
}
BODIES = st.fixed_dictionaries(
    {"usage_amount": VALUES["usage_amount"]},
    optional={name: VALUES.get(name, words) for name in (*OF_ONE[1:], "unknown")},
)


def _single(body: dict[str, Any]) -> UseBody | None:
    try:
        return SINGLE.validate_python(exact_json.decode(json.dumps(body).encode()))
    except ValidationError:
        return None


@given(BODIES)
def test_a_single_use_and_a_row_are_read_alike(body: dict[str, Any]) -> None:
    single = _single(body)
    (row,) = batch_parser.parse(json.dumps({"events": [body]}).encode())
    if single is None:
        assert isinstance(row, batch_parser.Fault)
        return
    assert isinstance(row, UseRow), row
    for name in OF_ONE:
        one, other = getattr(single, name), getattr(row, name)
        assert one == other or (name == "usage_amount" and float(one) == float(other)), name


TEXTS = st.sampled_from(["a", "\0", r"\u0000", "\\\0", "é", "\ud800", "x" * 8_192])
NUMBERS = st.sampled_from([1, True, -(10**63), 10**64, 0.0, 1e99, 1e100, -1e-99, 1e-100])
DETAILS = st.recursive(
    TEXTS | NUMBERS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)
PARTS = {name: VALUES.get(name, words | TEXTS) for name in OF_ROW[1:]} | {
    "product_id": st.just("p"),
    "occurred_at": st.datetimes(timezones=st.just(UTC)),
    "usage_details": st.dictionaries(TEXTS, DETAILS, max_size=3),
}
ONE_PART = st.one_of([st.tuples(st.just(name), value) for name, value in PARTS.items()])
USES = st.lists(ONE_PART, max_size=3).map(lambda parts: {"product_id": "p"} | dict(parts))


@given(USES)
def test_the_api_refuses_no_use_for_its_form_that_the_client_stores(use: Any) -> None:
    try:
        _, row = events.build("1", use)
    except InvalidEvent:
        return
    sent = b'{"events":[' + row + b"]}"
    assert request_limits._fault("/api/v1/usage/batch", sent) is None
    (read,) = batch_parser.parse(sent)
    assert isinstance(read, UseRow), read


@given(BODIES)
def test_a_use_that_is_read_at_once_is_as_pydantic_reads_it(body: dict[str, Any]) -> None:
    single, known = _single(body), read_use(json.dumps(body).encode())
    if known is None:
        return
    assert single is not None
    for name in OF_ONE:
        one, other = getattr(single, name), getattr(known, name)
        if name == "usage_amount":
            one, other = exact_json.shortest(one), exact_json.shortest(other)
        assert one == other, name


def test_a_plain_use_is_read_at_once() -> None:
    plain: dict[str, Any] = {
        "product_id": "gpt-4",
        "usage_amount": "5",
        "event_id": "e-1",
        "user_id": "ann",
    }
    assert read_use(json.dumps(plain).encode()) == UseBody(**plain)
    odd = {"user_id": " ann", "usage_details": {}, "usage_amount": 1.5, "more": 1}
    for name, value in odd.items():
        assert read_use(json.dumps(plain | {name: value}).encode()) is None


ROW = '"product_id":"p","usage_amount":"1"'
ONCE = (
    r'"user_id":":\n\u00e9"', '"usage_details":{"a:":{"a:":null}}', r'"user_id":"\u003a"',
    '"occurred_at":"2026-12-01T09:00:00+0530"', '"user_id":null', '"on_insufficient":"reject"',
)  # fmt: skip
AGAIN = (
    '"usage_amount":"1"', r'"usage_amoun\u0074":"1"', '"usage_details":{"a":1,"a":1}',
    r'"usage_details":{"é":1,"\u00e9":1}', '"request_id":"a","request_id":"b"',
)  # fmt: skip


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("once", ONCE)
def test_a_repeated_member_is_found_in_whatever_company(once: str, again: str) -> None:
    (plain,) = batch_parser.parse(f'{{"events":[{{{ROW},{once}}}]}}'.encode())
    assert isinstance(plain, UseRow)
    row, other = batch_parser.parse(f'{{"events":[{{{ROW},{once},{again}}},{{{ROW}}}]}}'.encode())
    assert isinstance(row, batch_parser.Fault)
    assert row.detail == request_limits.REPEATED
    assert isinstance(other, UseRow)
    with pytest.raises(Invalid):
        batch_parser.parse(f'{{"events":[],"events":[{{{ROW},{once}}}]}}'.encode())


def test_a_usual_batch_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(batch_parser, "repeats")
    for once in ONCE[:2]:
        (row,) = batch_parser.parse(f'{{"events":[{{{ROW},{once}}}]}}'.encode())
        assert isinstance(row, UseRow)

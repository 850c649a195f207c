"""Rows for SQL are written field by field in the order of their types, and any text survives."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing.core.arrays import records
from billing.ledger.credits import holds, sql_calls
from billing.metering.quotas import store as quotas
from billing.metering.usage.schemas import Use, UseKind
from billing.metering.usage.sql_batch import Batch, by_account
from billing.money.invoices import usage_lines
from migrations import sql

ACCOUNT, HOLD, RECORD = UUID(int=1), UUID(int=2), UUID(int=3)
AT = datetime(2027, 1, 2, 3, 4, tzinfo=UTC)


def fields_of(name: str) -> list[tuple[str, str]]:
    """Name and SQL type of each field of a composite type."""
    found = re.search(rf"CREATE TYPE {name} AS \((.*?)\);", sql.tree(), re.DOTALL)
    assert found, name
    return [(one.split()[0], one.split()[1]) for one in found[1].split(",")]


def names_of(name: str) -> list[str]:
    return [field for field, _ in fields_of(name)]


@pytest.mark.parametrize(
    ("call", "type_"),
    [(sql_calls.GRANT, "credit_grant_item"), (sql_calls.DEBIT, "credit_debit_item")],
)
def test_an_item_of_a_call_has_the_fields_of_its_type(call: object, type_: str) -> None:
    sent = call._sql.decode()  # type: ignore[attr-defined]
    row = sent.partition("ROW(")[2].partition(f")::{type_}")[0]
    named = re.findall(r"CAST\(%\((\w+)\)s(?:::JSONB)? AS (\w+)\)", row)
    assert named == fields_of(type_)


@pytest.mark.parametrize(
    ("call", "type_"),
    [
        (str(quotas._SET), "quota_input"),
        (str(quotas._CLAIM), "quota_claim_input"),
        (str(quotas._CLAIM_FAST), "quota_claim_input"),
        (usage_lines._BILL_LINE._sql.decode(), "usage_line"),
    ],
)
def test_a_row_names_the_fields_of_its_type(call: str, type_: str) -> None:
    row = call.partition("ROW(")[2].partition(f" AS {type_}")[0]
    assert re.findall(r"(?:(?<!:):|%\()(\w+)", row) == names_of(type_)


def row_of(array: str) -> list[str]:
    """The fields of an array's only row, without quotes; no marker below has a comma."""
    row = array.removeprefix('{"(').removesuffix(')"}')
    return row.replace('\\"', "").split(",")


def test_a_use_and_its_kind_have_the_fields_of_their_types() -> None:
    kind = UseKind(
        product_id="product_id", service_type="service_type", feature_type="feature_type",
        operation="operation", model="model", method="method", defer=True,
    )  # fmt: skip
    use = Use(
        account_id=ACCOUNT, kind=kind, amount="12.5", event_id="event_id", at=AT,
        user_id="user_id", organization_id="organization_id", session_id="session_id",
        request_id="request_id", detail="detail", hold_id=HOLD, record_id=RECORD.hex,
    )  # fmt: skip
    batch = Batch([use], [7], by_account([use]))
    written = {
        "place": "1", "account": "1", "kind": "1", "share": "7", "id": RECORD.hex,
        "hash": str(batch.hashes[0]), "amount": "12.5", "used_at": AT.isoformat(),
        "hold_id": str(HOLD), "defers": "True",
    }  # fmt: skip
    assert row_of(batch.values["uses"]) == [written.get(n, n) for n in names_of("usage_input")]
    assert row_of(batch.values["kinds"]) == [written.get(n, n) for n in names_of("usage_kind")]


class Sent:
    """A statement that keeps the items it is run with."""

    def __init__(self) -> None:
        self.items = ""

    async def all(self, _: Any, *, items: str, at: datetime | None, **_more: Any) -> list[Any]:
        self.items = items
        return []


async def test_holds_and_captures_have_the_fields_of_their_types(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold, capture = Sent(), Sent()
    monkeypatch.setattr(sql_calls, "HOLD_MANY", hold)
    monkeypatch.setattr(sql_calls, "CAPTURE_MANY", capture)
    connection: Any = None
    order = holds.HoldOrder(
        account_id=ACCOUNT, amount=Decimal("12.5"), key="key", reason="reason",
        lifetime=timedelta(microseconds=9), scope="scope", paid_only=True, subject="subject",
        made_by="made_by",
    )  # fmt: skip
    await holds.hold_many(connection, [order])
    captured = holds.CaptureOrder(
        account_id=ACCOUNT, hold_id=HOLD, amount=Decimal("12.5"), reason="reason"
    )
    await holds.capture_many(connection, [captured])
    written = {
        "account_id": str(ACCOUNT), "hold_id": str(HOLD), "amount": str(order.amount),
        "key": order.key, "hash": order.hash, "expires_at": "", "lifetime": "9 microseconds",
        "paid_only": "True", "detail": "",
    }  # fmt: skip
    assert row_of(hold.items) == [written.get(n, n) for n in names_of("credit_hold_item_v2")]
    written["amount"] = str(captured.amount)
    assert row_of(capture.items) == [written.get(n, n) for n in names_of("credit_capture_item")]


def test_a_text_is_quoted_for_its_field_and_for_its_array() -> None:
    written = records([("a", 1, None), ('say "hi"', "back\\slash", True)])
    assert written == r'{"(\"a\",1,)","(\"say \"\"hi\"\"\",\"back\\\\slash\",True)"}'

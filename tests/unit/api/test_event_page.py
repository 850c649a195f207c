"""The page of events is the code's own, and its list takes nothing that it does not name."""

from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from api.routes.events import EventAnswer
from billing.catalog.rating.schemas import BillingMethod
from billing.core import ids
from billing.platform.outbox.fields import FIELDS
from billing.platform.outbox.kinds import KINDS
from cli.event_table import render
from devstack.options import ROOT
from tests.misfits import misfits

LOW = "evt.billing.credits.low"


def example(type: str) -> dict[str, Any]:
    """The data of the page's example."""
    return {name: field.example for name, (field, _) in KINDS[type].items()}


def test_the_page_of_events_is_the_codes_own() -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    assert page == render(), "run: billing events > docs/events.md"
    assert all(f"| `{told}` |" in page for told in KINDS)


@pytest.mark.parametrize("type", KINDS)
def test_the_example_of_each_type_fits_it(type: str) -> None:
    assert misfits(type, example(type)) == []


@pytest.mark.parametrize(
    ("type", "change", "fault"),
    [
        ("evt.billing.paid", {}, "is no type of"),
        (LOW, {"plan": "pro"}, "has plan, which kinds.py does not name"),
        (LOW, {"balance": None}, "balance is None, not decimal"),
        (LOW, {"balance": 5}, "balance is 5, not decimal"),
        (LOW, {"balance": "few"}, "balance is 'few', not decimal"),
        ("evt.billing.subscription.renewed", {"period_start": "2027"}, "'2027', not instant"),
        ("evt.billing.invoice.paid", {"total_cents": "5831"}, "'5831', not money"),
        (
            "evt.billing.usage.threshold_reached",
            {"subject": "quota 01a21a6d-35fb-7203-a9b0-96a6b2cbf340"},
            "subject has an id that callers do not know",
        ),
    ],
)
def test_another_event_is_told_from_it(type: str, change: dict[str, Any], fault: str) -> None:
    known = example(type) if type in KINDS else {}
    (found,) = misfits(type, known | change)
    assert fault in found


@pytest.mark.parametrize("type", KINDS)
def test_money_has_its_currency_beside_it(type: str) -> None:
    fields = KINDS[type]
    money = [name for name, (field, _) in fields.items() if field.form == "money"]
    assert not money or fields["currency"][1], f"{money} are minor units of its currency"


def test_words_of_the_examples_are_words_of_the_product() -> None:
    assert FIELDS["billing_method"].example in get_args(BillingMethod)
    assert FIELDS["scope"].example == FIELDS["service_type"].example
    assert "meter" in FIELDS["scope"].meaning


def test_a_missing_field_is_told() -> None:
    data = example(LOW)
    del data["threshold"]
    assert misfits(LOW, data) == [f"{LOW} has no threshold"]


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        ("2027-01-01T10:00:00+00:00", "2027-01-01T10:00:00Z"),
        ("2027-01-01T10:00:00.5+00:00", "2027-01-01T10:00:00.500000Z"),
        ("2027-01-01T11:00:00+01:00", "2027-01-01T10:00:00Z"),
    ],
)
def test_an_instant_in_the_data_is_shown_as_one_beside_it(kept: str, shown: str) -> None:
    row = {
        "id": ids.new(), "account_id": ids.new(), "seq": 1, "type": LOW, "correlation_id": None,
        "data": {"expires_at": kept},
        "occurred_at": datetime.fromisoformat(kept).astimezone(UTC),  # as a row has it
    }  # fmt: skip
    told = EventAnswer.of(row).model_dump(mode="json")
    assert (told["data"]["expires_at"], told["occurred_at"]) == (shown, shown)

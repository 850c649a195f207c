"""The Python client's answers are those of its routes: each field is there, or left out by name."""

from typing import Any, Final

import pytest
from pydantic import BaseModel

from durable_billing import answers
from tests.api_document import DOCUMENT

ROUTES: Final[tuple[tuple[type[BaseModel], str, str, set[str]], ...]] = (
    (answers.Quote, "post", "/billing/calculate", {"success"}),
    (answers.Bill, "post", "/usage/record", {"success"}),
    (
        answers.BillingRecord, "post", "/billing/process",
        {
            "billing_period_start", "created_at", "feature_type", "is_free_tier",
            "is_included_in_subscription", "is_late",
            "kind", "model", "operation", "organization_id", "request_id", "service_type",
            "session_id", "updated_at", "usage_details", "user_id", "voids",
        },
    ),
    (answers.QuotaCheck, "post", "/quota/check", set()),
    (answers.Balance, "get", "/billing/credits/balance", set()),
    (
        answers.HoldState, "post", "/billing/credits/holds/{hold_id}/release",
        {"created_at", "paid_only", "reason", "resolved_at", "scope", "subject"},
    ),
    (answers.Capture, "post", "/billing/credits/holds/{hold_id}/capture", set()),
)  # fmt: skip


def told(method: str, path: str) -> dict[str, Any]:
    """The schema of the route's answer."""
    answered = DOCUMENT["paths"][f"/api/v1{path}"][method]["responses"]
    found = next(answered[status] for status in ("200", "201") if status in answered)
    name = found["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
    return schema


@pytest.mark.parametrize(("model", "method", "path", "left_out"), ROUTES)
def test_an_answer_has_the_fields_of_its_route(
    model: type[BaseModel], method: str, path: str, left_out: set[str]
) -> None:
    served = set(told(method, path)["properties"])
    assert set(model.model_fields) == served - left_out
    assert left_out <= served

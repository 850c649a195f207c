"""Every number of every body at its extremes: taken, or refused by name; never an error of ours.

The numbers come from the OpenAPI document, so a new field is here the day it is registered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest

from api.answers.problems import JSON
from api.gates import OperatorGate
from tests.integration.api.number_fields import Number, numbers_of
from tests.integration.api.route_samples import BODIES, MAKERS, SHARED
from tests.integration.api.test_tenant_matrix import OPERATIONS, Operation
from tests.integration.api_app import Api

WRITES: Final = [op for op in OPERATIONS if op.method in {"POST", "PUT", "PATCH"} and op.has_body]
NUMBERS: Final = [
    pytest.param(operation, number, id=f"{operation} {number}")
    for operation in WRITES
    for number in numbers_of(operation.described["requestBody"]["content"][JSON]["schema"])
]
# Bodies in which a number may be taken, where the samples' are refused for another reason.
TAKEN: Final[Mapping[str, Mapping[str, Any]]] = {
    "put_price_override": {"terms": {}},
    "subscribe": {"payment_method_id": None, "collection": "send_invoice"},
    "put_plan": {"limits": [{"meter": "ai_responses", "included": "500"}]},
    "write_auto_top_up": {"payment_method_id": None},
}
OWN: Final = f"x-{uuid4().hex[:8]}"
# Numbers that no value makes valid there.
NEVER: Final = {"put_credit_package prices.USD.minimum_minor"}


@dataclass
class Sender:
    """Sends bodies of one operation, each after one that was taken for a fresh account."""

    api: Api
    operation: Operation
    named: dict[str, str] | None = None

    async def send(self, number: Number, value: Any) -> httpx2.Response:
        """One request with this number."""
        named = self.named = self.named or await self._things()
        path, name = self.operation.route.path_format, self.operation.described["operationId"]
        for slot in self.operation.parameters("path"):
            path = path.replace(f"{{{slot}}}", named.get(slot) or self._own(slot))
        body = number.put(BODIES[name](named) | TAKEN.get(name, {}), value)
        if name == "create_coupon":
            body["code"] = f"X{uuid4().hex[:12].upper()}"
        headers = self.api.admin() | {"Idempotency-Key": uuid4().hex}
        if not isinstance(self.operation.gate, OperatorGate):
            headers["X-Account-Id"] = named["account_id"]
        large = {"allow_large_change"} & set(self.operation.parameters("query"))
        answer = await self.api.client.request(
            self.operation.method,
            path,
            params=dict.fromkeys(large, "true"),
            json=body,
            headers=headers,
        )
        if answer.is_success:
            self.named = None
        return answer

    def _own(self, slot: str) -> str:
        """A name of the catalog that nothing else uses, where one is written."""
        name = self.operation.described["operationId"]
        if name == "put_tax":
            return "TV"
        return OWN if name.startswith("put_") and slot == "key" else SHARED[slot]

    async def _things(self) -> dict[str, str]:
        account = await self.api.new_account(is_test=True)
        needed = {"account_id", *self.operation.slots()}
        if needed & {"invoice_id", "payment_id", "dunning_case_id", "change_id"}:
            needed.add("subscription_id")
        return {
            name: await make(self.api, account) for name, make in MAKERS.items() if name in needed
        }


@pytest.mark.parametrize(("operation", "number"), NUMBERS)
async def test_no_number_is_too_much_for_us(api: Api, operation: Operation, number: Number) -> None:
    sender, codes = Sender(api, operation), set[str | None]()
    for value in number.extremes():
        answer = await sender.send(number, value)
        assert answer.status_code < 500, f"{value}: {answer.text}"
        assert answer.status_code not in {401, 403}, answer.text
        codes.add(None if answer.is_success else answer.json()["code"])
    name = f"{operation.described['operationId']} {number}"
    assert codes != {"VALIDATION_FAILED"} or name in NEVER, "no value was valid"

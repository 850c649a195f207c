"""The examples that the sources print, word for word, as their readers would try them.

`source_examples.json` has them in order, by source: who asks, the request, and what the answer must
have. `{…}` stands for an id that an earlier answer gave (`keep`); `later` is the reason why an
example is not served yet.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.coupons.coupons_made import coupon

EXAMPLES: Final[dict[str, list[Json]]] = json.loads(
    Path(__file__).with_name("source_examples.json").read_text()
)
CASES: Final = [
    pytest.param(
        source,
        example,
        id=f"{source}: {example['name']}",
        marks=[pytest.mark.skip(reason=example["later"])] if "later" in example else [],
    )
    for source, examples in EXAMPLES.items()
    for example in examples
]


class Reader:
    """One who tries a source's examples one after the other, with an account of its own."""

    def __init__(self, customer: Customer, kept: dict[str, str]) -> None:
        self.customer = customer
        self.kept = kept

    async def asks(self, example: Json) -> tuple[int, Any]:
        method, path = self._named(example["ask"]).split(" ")
        body = json.loads(self._named(json.dumps(example["body"]))) if "body" in example else None
        answer = await self.customer.actors.client.request(
            method, path, json=body, headers=self._headers(example)
        )
        is_json = "json" in answer.headers.get("content-type", "")
        shown = answer.json() if is_json else {"starts": answer.text[:4]}
        for name, place in example.get("keep", {}).items():
            self.kept[name] = str(_at(shown, place))
        return answer.status_code, shown

    def _named(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda name: self.kept[name[1]], text)

    def _headers(self, example: Json) -> dict[str, str]:
        role = example.get("as", "billing")
        if role == "nobody":
            return {}
        whose = self.customer.id if role == "billing" else "*"
        named = {"X-Account-Id": example["account"]} if "account" in example else {}
        return self.customer.actors.headers(whose, role) | named


@pytest.fixture(scope="module")
async def readers(actors: Actors) -> dict[str, Reader]:
    """A payer who has what the examples take for granted: a card, a paid pack, a plan."""
    made: dict[str, Reader] = {}
    for source in EXAMPLES:
        fields = {"external_id": "user123"} if source == "usage" else {}
        customer = await actors.customer(**fields)
        kept: dict[str, str] = {}
        if source != "packs":
            await customer.save_card()
            await customer.bought()
            kept["subscription_id"] = (await customer.subscribe("free"))["subscription_id"]
            kept["coupon"] = await coupon(actors, percent="10", duration="forever")
        made[source] = Reader(customer, kept)
    return made


@pytest.mark.parametrize(("source", "example"), CASES)
async def test_an_example_is_answered_as_its_source_says(
    readers: dict[str, Reader], source: str, example: Json
) -> None:
    status, shown = await readers[source].asks(example)
    assert status == example["status"], shown
    assert _part_of(example.get("answer", {}), shown), shown
    assert all(name in shown for name in example.get("has", ())), shown
    if "first" in example:
        assert _part_of(example["first"], shown["data"][0]), shown


def _part_of(wanted: Json, shown: Any) -> bool:
    """True if the answer has all that is wanted, whatever else it has."""
    return all(
        _part_of(value, shown[name]) if isinstance(value, dict) and value else shown[name] == value
        for name, value in wanted.items()
    )


def _at(shown: Any, place: str) -> Any:
    for step in place.split("."):
        shown = shown[int(step) if step.isdigit() else step]
    return shown

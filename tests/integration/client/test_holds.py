"""Credits held around work through the client, and the README's ten lines as they stand there."""

import asyncio
import re
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from devstack.options import ROOT
from devstack.stack import StackInfo
from durable_billing.answers import Balance
from durable_billing.errors import BillingProblem
from tests.integration.actors import Actors, Customer
from tests.integration.client.conftest import Connect, token_of

HEADING = "## Meter an LLM call in ten lines"


def ten_lines() -> str:
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"{HEADING}\n+```python\n(.*?)```", text, re.DOTALL)
    assert found, "the README shows how to meter an LLM call"
    return found[1]


def test_ten_lines_are_ten_lines() -> None:
    assert len([line for line in ten_lines().splitlines() if line.strip()]) <= 10


async def test_the_ten_lines_of_the_readme_meter_a_call(
    actors: Actors,
    customer: Customer,
    stack: StackInfo,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await customer.bought("small")
    monkeypatch.setenv("BILLING_URL", stack.api_url)
    monkeypatch.setenv("BILLING_TOKEN", token_of(actors, customer.id, "billing"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[str] = []

    def llm(prompt: str) -> Any:
        if prompt == "crash":
            raise TimeoutError(prompt)
        asked.append(prompt)
        return SimpleNamespace(text="an answer", total_tokens=1_830)

    words: dict[str, Any] = {"llm": llm}
    exec(ten_lines(), words)
    assert await asyncio.to_thread(words["answer"], "why?") == "an answer"
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(words["answer"], "crash")
    assert asked == ["why?"]
    words["billing"].close()
    after: Balance = await asyncio.to_thread(connect(customer).balance)
    assert (after.credits, after.held) == (Decimal("96.34"), Decimal(0))
    (entry,) = await customer.rows(
        "SELECT detail FROM credit_transactions WHERE account_id = %(me)s AND kind = 'capture'"
    )
    assert entry["detail"]["product_id"] == "gpt-4"
    assert entry["detail"]["usage_amount"] == "1830.00"
    (used,) = await customer.rows(
        "SELECT meter, usage_amount FROM billing_records WHERE account_id = %(me)s"
    )
    assert (used["meter"], used["usage_amount"]) == ("model_inference", 1830)


async def test_a_hold_sets_credits_aside_until_it_ends(
    customer: Customer, connect: Connect
) -> None:
    await customer.bought("small")
    client = connect(customer)
    hold = await asyncio.to_thread(client.hold, "60", expires_in_seconds=60)
    assert (await asyncio.to_thread(client.balance)).available == 40
    with pytest.raises(BillingProblem) as caught:
        await asyncio.to_thread(client.hold, "60")
    assert (caught.value.status, caught.value.code) == (402, "INSUFFICIENT_CREDITS")
    assert Decimal(caught.value.fields["available"]) == 40
    spent = await asyncio.to_thread(hold.capture, "12.5")
    assert spent is not None
    assert (spent.captured, spent.released) == (Decimal("12.5"), Decimal("47.5"))
    assert await asyncio.to_thread(hold.capture, "12.5") == spent
    with pytest.raises(BillingProblem, match="HOLD_RESOLVED"):
        await asyncio.to_thread(hold.release)
    assert (await asyncio.to_thread(client.balance)).available == Decimal("87.5")

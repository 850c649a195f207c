"""A platform's usage through its Python client: everything once, whatever dies on the way."""

import asyncio
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from devstack.control import StackControl
from devstack.stack import StackInfo
from durable_billing.answers import Rejected
from durable_billing.errors import BillingProblem, BillingUnreachable
from durable_billing.events import Use
from tests.integration.actors import Actors, Customer
from tests.integration.client.conftest import CLIENT_SOURCE, Connect, recorded, token_of
from tests.integration.waiting import wait_for

FREE: dict[str, Any] = {"feature_type": "chat_messages"}
"""A use that no credit is needed for."""

RECORDER = """
import itertools, os, sys
sys.path.insert(0, os.environ["CLIENT_SOURCE"])
from durable_billing.client import BillingClient
client = BillingClient(
    os.environ["API_URL"], os.environ["API_TOKEN"], spool=sys.argv[1], trust_env=False,
    send_delay_seconds=0.005,
)
for number in itertools.count():
    event = client.record(1, feature_type="chat_messages", event_id=f"call-{number}")
    print(event, flush=True)
"""


def record_until_killed(spool: Path, environment: dict[str, str]) -> list[str]:
    """The events that a process was told are kept, before it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(spool)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as recorder:
        assert recorder.stdout is not None
        seen = [recorder.stdout.readline() for _ in range(300)]
        recorder.kill()
        seen += recorder.stdout.read().splitlines(keepends=True)
    return [line.strip() for line in seen if line.endswith("\n")]


async def test_what_is_recorded_is_billed_once(customer: Customer, connect: Connect) -> None:
    client = connect(customer)
    ids = {client.record(1, **FREE) for _ in range(50)}
    client.record("2.5", event_id="job-1", **FREE)
    client.record("2.5", event_id="job-1", **FREE)
    assert await asyncio.to_thread(client.flush)
    assert await recorded(customer) == dict.fromkeys([*ids, "job-1"], 1)
    assert client.rejected() == []


async def test_every_call_of_the_client_is_understood(customer: Customer, connect: Connect) -> None:
    await customer.bought("small")
    client = connect(customer)
    quote = await asyncio.to_thread(client.calculate, "gpt-4", 1000)
    assert (quote.total_cost, quote.unit_price) == (Decimal(2), Decimal("0.002"))
    mine: dict[str, Any] = {"product_id": "gpt-4", "account_id": customer.id}
    allowed = await asyncio.to_thread(client.check_quota, 5, **mine)
    assert allowed.allowed
    bill = await asyncio.to_thread(client.record_now, 1000, **mine)
    assert bill.total_cost == 2
    settled = await asyncio.to_thread(client.process, bill.billing_id, key="mine")
    kept = await customer.rows("SELECT key FROM billing_idempotency WHERE account_id = %(me)s")
    assert "mine" in [one["key"] for one in kept]
    assert (settled.billing_status, settled.total_amount) == ("completed", Decimal(2))
    balance = await asyncio.to_thread(client.balance)
    assert balance.credits == balance.available == 98
    with pytest.raises(BillingProblem) as caught:
        await asyncio.to_thread(client.calculate, "no-such-product", 1)
    assert (caught.value.status, caught.value.code) == (404, "PRODUCT_PRICING_NOT_FOUND")
    assert caught.value.correlation_id


async def test_a_deferred_use_is_paid_once_credits_are_there(
    customer: Customer, connect: Connect
) -> None:
    client = connect(customer)
    owed = await asyncio.to_thread(
        client.record_now, 1000, product_id="gpt-4", on_insufficient="defer"
    )
    assert owed.billing_status == "pending"
    with pytest.raises(BillingProblem, match="INSUFFICIENT_CREDITS"):
        await asyncio.to_thread(client.process, owed.billing_id)
    await customer.bought("small")
    paid = await asyncio.to_thread(client.process, owed.billing_id)
    assert paid.billing_status == "completed"


async def test_a_rejected_use_is_told_and_may_be_sent_again(
    customer: Customer, connect: Connect
) -> None:
    told: list[Rejected] = []
    client = connect(customer, on_rejected=told.append)
    client.record(1000, product_id="gpt-4", event_id="costly")
    client.record(1, event_id="free", **FREE)
    assert await asyncio.to_thread(client.flush)
    assert [(one.event_id, one.code) for one in told] == [("costly", "INSUFFICIENT_CREDITS")]
    await customer.bought("small")
    client.send_again([one.number for one in client.rejected()])
    assert await asyncio.to_thread(client.flush)
    assert await recorded(customer) == {"costly": 1, "free": 1}


async def test_a_service_records_for_many_accounts(actors: Actors, connect: Connect) -> None:
    ann, bob = await actors.customer(), await actors.customer()
    client = connect(ann, token=token_of(actors, "*", "service"), account=ann.id)
    client.record(1, event_id="for-ann", **FREE)
    client.record(1, event_id="for-bob", external_id=bob.account["external_id"], **FREE)
    assert await asyncio.to_thread(client.flush)
    assert await recorded(ann) == {"for-ann": 1}
    assert await recorded(bob) == {"for-bob": 1}


async def test_what_a_killed_process_recorded_the_next_one_sends(
    customer: Customer, connect: Connect, actors: Actors, stack: StackInfo, tmp_path: Path
) -> None:
    spool = tmp_path / "killed.db"
    environment = os.environ | {
        "CLIENT_SOURCE": str(CLIENT_SOURCE),
        "API_URL": stack.api_url,
        "API_TOKEN": token_of(actors, customer.id, "billing"),
    }
    kept: list[str] = []
    for _ in range(3):
        kept += await asyncio.to_thread(record_until_killed, spool, environment)
    assert len(kept) >= 900
    after = connect(customer, spool=spool)
    assert await asyncio.to_thread(after.flush)
    books = await recorded(customer)
    assert set(kept) <= books.keys()
    assert set(books.values()) == {1}
    assert after.rejected() == []


async def test_the_api_killed_amid_batches_and_back_loses_and_doubles_nothing(
    customer: Customer, connect: Connect, control: StackControl
) -> None:
    client = connect(customer)
    ids = set(
        await asyncio.to_thread(
            client.record_many, [(1, Use(feature_type="chat_messages"))] * 5_000
        )
    )
    await wait_for(lambda: recorded(customer), "events arrive")
    await control.kill("api", hold=True)
    try:
        ids |= {client.record(1, **FREE) for _ in range(20)}
        assert not await asyncio.to_thread(client.flush, 0.3)
        assert client.status().waiting >= 20
        assert isinstance(client.status().trouble, BillingUnreachable)
    finally:
        await control.start("api")
    ids.add(client.record(1, **FREE))
    assert await asyncio.to_thread(client.flush)
    assert await recorded(customer) == dict.fromkeys(ids, 1)

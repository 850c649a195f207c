"""Events of strangers, who use the same Stripe account, do not keep ours from being looked into; an
echo of money that is booked asks nobody.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from billing.matters.tables import matters
from billing.platform.provider_inbox import store
from billing.platform.provider_inbox.tables import stripe_webhook_events
from tests.integration.actors import Actors, wait_for

# Before anything that the run itself has received.
CAME: Final = datetime(2000, 1, 1, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)


@pytest.fixture
async def inbox(actors: Actors) -> AsyncIterator[AsyncConnection]:
    """The inbox in a transaction that leaves nothing behind."""
    engine = create_async_engine(actors.stack.operator_url)
    async with engine.connect() as connection:
        yield connection
        await connection.rollback()
    await engine.dispose()


async def came(inbox: AsyncConnection, status: str, *names: str, matter: str | None = None) -> None:
    await inbox.execute(
        insert(stripe_webhook_events),
        [
            {
                "stripe_event_id": name, "type": "payment_intent.succeeded", "status": status,
                "payload": {}, "received_at": CAME + timedelta(seconds=place),
                "workflow_id": matter,
            }
            for place, name in enumerate(names)
        ],
    )  # fmt: skip


async def looked_for(inbox: AsyncConnection, at: datetime, limit: int = 500) -> set[str]:
    found = await store.unmatched(inbox, CAME + MINUTE, at, limit)
    return {one.event_id for one in found}


async def test_ours_are_asked_first_however_many_strangers_wait(inbox: AsyncConnection) -> None:
    await came(inbox, "unmatched", "stray-1", "stray-2", "stray-3", "stray-4")
    await came(inbox, "received", "ours")
    found = await store.waiting(inbox, CAME + MINUTE, 2)
    assert [one.event_id for one in found] == ["ours"]


async def test_what_waits_for_halted_matters_crowds_out_nobody(
    inbox: AsyncConnection, actors: Actors
) -> None:
    customer = await actors.customer()
    name = f"purchase/{customer.uuid}"
    halted = {
        "workflow_id": name, "account_id": customer.uuid, "kind": "purchase",
        "subject_id": customer.uuid, "created_at": CAME, "woken_at": CAME, "status": "halted",
    }  # fmt: skip
    await inbox.execute(insert(matters).values(**halted))
    await came(inbox, "received", "stuck-1", "stuck-2", matter=name)
    await came(inbox, "received", "ours")
    found = await store.waiting(inbox, CAME + MINUTE, 2)
    assert [one.event_id for one in found] == ["ours"]
    going_on = update(matters).where(matters.c.workflow_id == name).values(status="open")
    await inbox.execute(going_on)
    assert len(await store.waiting(inbox, CAME + MINUTE, 3)) == 3, "it goes on"


async def test_the_owner_of_a_stray_is_looked_for_less_and_less_often(
    inbox: AsyncConnection,
) -> None:
    await came(inbox, "unmatched", "stray")
    looks = [
        minute
        for minute in range(2, 24 * 60)
        if await looked_for(inbox, CAME + minute * MINUTE) == {"stray"}
    ]
    assert looks[:7] == [2, 4, 8, 16, 32, 62, 92]
    assert len(looks) < 60
    assert looks[-1] > 23.5 * 60 - 1, "nobody's after a day: it is parked soon"


async def test_every_stray_has_its_turn(inbox: AsyncConnection) -> None:
    names = [f"stray-{n}" for n in range(6)]
    await came(inbox, "unmatched", *names)
    turns = [await looked_for(inbox, CAME + minute * MINUTE, 2) for minute in (2, 3, 4)]
    assert [len(turn) for turn in turns] == [2, 2, 2]
    assert set.union(*turns) == set(names)


async def test_the_echo_of_a_charge_that_came_while_it_was_booked_asks_nobody(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.subscribed("pro")
    echo = f"evt_echo_{customer.uuid.hex}"
    # As the webhook stored it while the try was under way, a moment after the try had looked.
    await customer.rows(
        "INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type,"
        " object_id, payload, status, received_at)"
        " SELECT %(echo)s, p.account_id, i.workflow_id, 'payment_intent.succeeded',"
        " p.stripe_payment_intent_id, '{}', 'received', clock_timestamp()"
        " FROM payments p JOIN invoices i ON i.id = p.invoice_id WHERE p.account_id = %(me)s",
        echo=echo,
    )

    async def status() -> str:
        (row,) = await customer.rows(
            "SELECT status FROM stripe_webhook_events WHERE stripe_event_id = %(echo)s", echo=echo
        )
        return str(row["status"])

    await wait_for(status, "the echo is done with", lambda seen: seen == "handled")
    looks = "SELECT key FROM steps WHERE account_id = %(me)s AND key LIKE '%%evt_echo_%%'"
    assert await customer.rows(looks) == [], "the provider was not asked"

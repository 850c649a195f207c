"""Incidents of operators, how each is planted and how the runbook mends it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final
from uuid import uuid4

from billing.core import ids
from billing.core.clock import real_now
from cli import counter_repair
from cli import rebuild as rebuilding
from devstack.options import ChildName
from sandbox.webhooks import signature
from tests.drill import backups, customers, machine, postgres
from tests.drill.rehearsal import Act, Incident
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.past_triggers import past_triggers

PARKED: Final = (
    "INSERT INTO stripe_webhook_events (stripe_event_id, type, payload, status, received_at)"
    " VALUES ('evt_of_another_shop', 'charge.failed', '{}', 'parked', clock_timestamp())"
)
# A step's key that is taken is no repeat's to heal.
TAKE: Final = (
    "INSERT INTO steps (key, workflow_id, account_id, name, due_at, ran_at, real_ran_at)"
    " VALUES (%(key)s, 'planted', %(me)s, 'planted', now(), now(), now())"
)
FREE: Final = "DELETE FROM steps WHERE workflow_id = 'planted'"


def held(child: ChildName) -> Act:
    """A part is killed, and stays away."""

    async def act(actors: Actors) -> None:
        await actors.control.kill(child, hold=True)

    return act


def started(child: ChildName) -> Act:
    """The part that was away is started."""

    async def act(actors: Actors) -> None:
        await actors.control.start(child)

    return act


def hung(child: ChildName) -> Act:
    """A process stands still and keeps all that it holds."""

    async def act(actors: Actors) -> None:
        status = await actors.control.status()
        os.kill(status[child].pid or 0, signal.SIGSTOP)

    return act


def ended(child: ChildName) -> Act:
    """The process that hangs is ended; its supervisor starts another."""

    async def act(actors: Actors) -> None:
        await actors.control.kill(child)
        await actors.control.wait(child)

    return act


async def nothing(actors: Actors) -> None:
    """Nobody does anything."""


async def subscriber(actors: Actors) -> Customer:
    """A customer whose subscription runs."""
    customer = await actors.customer()
    await customer.subscribed("basic")
    return customer


async def refuse_deliveries(actors: Actors) -> None:
    """Events come that were signed with a secret that is not ours."""
    for _ in range(2):
        signed = {"stripe-signature": signature("{}", "whsec_another", int(real_now().timestamp()))}
        answer = await actors.client.post("/api/v1/webhooks/stripe", content=b"{}", headers=signed)
        assert answer.json()["code"] == "INVALID_SIGNATURE"


async def deliver(actors: Actors) -> None:
    """The secret is right again: the next event is taken."""
    customer = await actors.customer()
    await customer.bought("small")


async def terminate(actors: Actors) -> None:
    """Somebody ends a workflow in the Temporal UI."""
    customer = await subscriber(actors)
    (row,) = await customer.rows(
        "SELECT workflow_id FROM matters WHERE account_id = %(me)s AND kind = 'subscription'"
    )
    await actors.temporal.get_workflow_handle(row["workflow_id"]).terminate("by mistake")


async def lose_temporal(actors: Actors) -> None:
    """Temporal's database is lost."""
    await subscriber(actors)
    await actors.control.reset_temporal()


async def rebuild(actors: Actors) -> None:
    """`billing rebuild`."""
    await rebuilding.rebuild(stack_settings(actors.stack), lambda *_: None, 0)


async def halt(actors: Actors) -> None:
    """Credits that end cannot be written off."""
    customer = await actors.customer()
    ends = real_now().replace(microsecond=0) + timedelta(seconds=5)
    await customer.rows(TAKE, key=f"{customer.id}/expire-{ends:%Y-%m-%dT%H:%M:%S.%fZ}")
    gift = {"account_id": customer.id, "amount": "5", "reason": "a gift"}
    gift["expires_at"] = ends.isoformat()
    await actors.operate("POST", "/admin/credits/adjust", gift, key=str(uuid4()), status=201)
    await rebuild(actors)  # its workflow begins at once


async def resume(actors: Actors) -> None:
    """The cause is gone: `POST /admin/matters/{workflow_id}/resume`."""
    await past_triggers(actors.stack, FREE)
    listed = await actors.operate("GET", "/admin/matters?status=halted")
    for one in listed["data"]:
        await actors.operate("POST", f"/admin/matters/{one['workflow_id']}/resume")


async def park(actors: Actors) -> None:
    """An event of another system is put aside."""
    await actors.sql(PARKED)


async def dismiss(actors: Actors) -> None:
    """`POST /admin/webhooks/{event_id}/dismiss`."""
    body = {"reason": "of another shop on the same Stripe account"}
    await actors.operate("POST", "/admin/webhooks/evt_of_another_shop/dismiss", body)


async def kill_postgres(actors: Actors) -> None:
    """Postgres is killed in the middle of a purchase."""
    customer = await actors.customer()
    buying = asyncio.create_task(customer.call("POST", "/billing/purchases", {"pack": "small"}))
    await actors.control.kill("postgres")
    await buying


async def lose_webhook(actors: Actors) -> None:
    """A payer pays by card, and no word of it arrives."""
    customer = await actors.customer()
    begun = await customer.buy("small")
    async with customer.unheard():
        await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed", patience=90)


async def ask_now(actors: Actors) -> None:
    """Somebody says that he has paid: `POST /admin/payments/{payment_id}/check`."""
    customer = await actors.customer()
    begun = await customer.buy("small")
    async with customer.unheard():
        await customer.pay(begun)
        purchase = await customer.purchase(begun["purchase_id"])
        found = await actors.operate("GET", f"/admin/search?q={purchase['purchase_id']}")
        assert [one["kind"] for one in found["data"]] == ["purchase"], found
        (row,) = await customer.rows("SELECT id FROM payments WHERE account_id = %(me)s")
        payment = ids.encode(ids.PAYMENT, row["id"])
        await actors.operate("POST", f"/admin/payments/{payment}/check")
        await customer.until_purchase(begun["purchase_id"], "completed", patience=10)


async def alter_counters(actors: Actors) -> None:
    """Somebody alters a counter of usage by hand."""
    customer = await subscriber(actors)
    body = {"feature_type": "ai_responses", "usage_amount": "3"}
    await customer.ask("POST", "/usage/record", body)
    await customer.rows(
        "UPDATE usage_counters SET quantity = quantity + 1 WHERE account_id = %(me)s"
    )


async def count_anew(actors: Actors) -> None:
    """`billing usage rebuild-counters`."""
    settings = stack_settings(actors.stack)
    await counter_repair.check(settings, None, lambda _: None, write=True)


def settled(act: Callable[[Actors], Awaitable[None]], name: str) -> Act:
    """The act, and what waited for it meanwhile is bought after all."""

    async def whole(actors: Actors) -> None:
        await act(actors)
        customer = await actors.customer()
        await wait_for(customer.bought, f"a purchase goes through after {name}")

    return whole


INCIDENTS: Final = (
    Incident(
        "the worker hangs", "worker", "last seen", hung("worker"),
        settled(ended("worker"), "it was ended"), "end its process",
    ),
    Incident(
        "the worker is away", "worker", "last seen", held("worker"), started("worker"), "start it"
    ),
    Incident("the worker is killed", None, "", ended("worker"), nothing, "its supervisor"),
    Incident("the API hangs", "api", "last seen", hung("api"), ended("api"), "end its process"),
    Incident(
        "webhooks are signed with another secret", "webhooks", "as INVALID_SIGNATURE",
        refuse_deliveries, deliver, "the right secret",
    ),
    Incident(
        "Stripe is away", "stripe", "Stripe does not answer", held("sandbox"), started("sandbox"),
        "itself, when it is back",
    ),
    Incident(
        "a matter is halted", "halted matters", "account/acc_", halt, resume, "resume"
    ),
    Incident(
        "a workflow was terminated", "workflows", "exactly one running workflow (1)", terminate,
        rebuild, "billing rebuild",
    ),
    Incident(
        "Temporal lost its database", "workflows", "exactly one running workflow", lose_temporal,
        rebuild, "billing rebuild",
    ),
    Incident(
        "Temporal is away", "temporal", "could not be asked", held("temporal"),
        started("temporal"), "itself, when it is back",
    ),
    Incident("Postgres is killed", None, "", kill_postgres, nothing, "itself"),
    Incident(
        "Postgres is away", "database", "could not be asked", held("postgres"),
        started("postgres"), "start it",
    ),
    Incident(
        "a table is locked", "requests", "UNAVAILABLE", postgres.LOCKED.plant,
        postgres.LOCKED.mend, "billing locks end",
    ),
    Incident(
        "a right is gone", "rights", "billing_app lacks INSERT on invoices",
        postgres.take_right, settled(postgres.give_right, "its right"), "billing migrate",
    ),
    Incident(
        "a constraint is gone", "walls", "invoices lacks uq_invoices_fact_key",
        postgres.take_down, settled(postgres.put_up, "its constraint"), "billing migrate",
    ),
    Incident(
        "the role's connections are limited", "pools", "Postgres gives this role 2",
        postgres.limit, settled(postgres.unlimit, "the limit"), "ALTER ROLE, as the superuser",
    ),
    Incident(
        "Postgres only reads", "database", "default_transaction_read_only is on",
        postgres.only_read, settled(postgres.write_again, "it writes again"),
        "RESET, as the superuser",
    ),
    Incident("the API is away", "api", "last seen", held("api"), started("api"), "start it"),
    Incident("a webhook is lost", None, "", lose_webhook, nothing, "the next look at Stripe"),
    Incident(
        "a payer says that he has paid", None, "", ask_now, nothing, "search and check",
    ),
    Incident(
        "a counter of usage was altered", "books", "not so", alter_counters, count_anew,
        "billing usage rebuild-counters",
    ),
    Incident(
        "an event of another system", "parked events", "evt_of_another_shop", park, dismiss,
        "dismiss it",
    ),
    Incident(
        "a price is a tenth of the right one", "audit, list of subscriptions", "price_version 2",
        customers.WRONG_PRICE.plant, customers.WRONG_PRICE.mend,
        "billing subscription undo-price", customers.WRONG_PRICE.look,
    ),
    Incident(
        "a catalog with a slip of the pen", "billing catalog apply", "--allow-large-change",
        customers.LARGE_STEP.plant, customers.LARGE_STEP.mend, "nothing: it was refused",
        customers.LARGE_STEP.look,
    ),
    Incident(
        "too many credits were used", "explain", "gpt-4 by ann",
        customers.CREDITS_USED.plant, customers.CREDITS_USED.mend, "/admin/credits/adjust",
        customers.CREDITS_USED.look,
    ),
    Incident(
        "a customer asks for patience", "/admin/dunning", "dunning open",
        customers.PAUSED.plant, customers.PAUSED.mend, "billing steer pause-dunning, then retry",
        customers.PAUSED.look,
    ),
    Incident(
        "a bank declines every card", "mass declines", "soft", customers.decline_many,
        customers.take_many, "itself, when most are taken",
    ),
    Incident(
        "tokens are signed with the old key", "the log", "a token was refused",
        machine.TOKENS.plant, machine.TOKENS.mend, "JWT_SECRET=new,old", machine.TOKENS.look,
    ),
    Incident(
        "a port is taken", "make up", "is taken: end the program that uses it, or set",
        machine.PORT.plant, machine.PORT.mend, "the setting that it names", machine.PORT.look,
    ),
    Incident(
        "the disk is nearly full", "disk", "GiB are free", machine.fill_disk, machine.make_room,
        "make room",
    ),
    Incident(
        "an entry of the audit was rewritten", "books", "no entry of the audit was rewritten",
        backups.AUDIT.rewritten, backups.AUDIT.from_backup, "restore of the backup",
    ),
    Incident(
        "a backup was restored", "parking", "restored to the backup", backups.REWOUND.restored,
        backups.REWOUND.gone_on, "catch-up, rebuild, unpark",
    ),
)  # fmt: skip

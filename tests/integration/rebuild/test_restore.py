"""Postgres is restored to an earlier point while Stripe has moved on, by docs/operate.md alone.

Nothing is charged twice, and what was charged since is found and booked.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.scheduled_jobs import ScheduledJobs
from billing.core import ids
from billing.core.database import open_database
from devstack.binaries import postgres_bin
from devstack.stack import dsn
from gateways.stripe import StripeGateway
from tests.integration.actors import API, Actors, Customer, Json, intent_of, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.followers import Follower
from tests.integration.payments.manual_payments import decide, submit
from tests.integration.rebuild.conftest import billing
from workflows.contracts import JobRequest

pytestmark = pytest.mark.slow

MONTH = 32


@dataclass
class Shop:
    """Customers whose affairs went on after the backup was taken."""

    renewing: Customer
    """Charged for a month that the backup has not begun."""
    paying: Customer
    """Had begun a purchase, and paid it."""
    purchase: Json
    returning: Customer
    """Had bought, and got a part of it back."""
    billed: Customer
    """Had an invoice to pay by transfer, and paid it by card."""
    rejected: Customer
    """Had told of a transfer that an operator then rejected, and paid by card."""
    transfer: Json
    buying: Customer
    """Had nothing, and bought a pack."""
    wavering: Customer
    """Had nothing, and began a purchase."""
    saving: Customer
    """Had nothing, and saved a card."""
    leaving: Customer
    """Had nothing, and opened two pages to pay; on one a card was declined."""


async def tool(actors: Actors, name: str, *words: str) -> None:
    """One of Postgres's own programs, as its superuser."""
    url = dsn(actors.stack.superuser_url)
    process = await asyncio.create_subprocess_exec(
        str(postgres_bin() / name), *(word.replace("{database}", url) for word in words),
        env={"PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def restore(actors: Actors, backup: Path) -> None:
    """Everything is stopped, the database is that of the backup, and it is parked first of all."""
    await actors.control.stop("api")
    await actors.control.stop("worker")
    await actors.superuser.leave()
    url = dsn(actors.stack.superuser_url)
    await tool(
        actors, "pg_restore", "--clean", "--if-exists", "--create", "--exit-on-error",
        f"--dbname={url.replace('/billing?', '/postgres?')}", str(backup),
    )  # fmt: skip
    code, said = await billing(actors, "park", "--reason", "restored to the backup")
    assert code == 0, said
    await actors.control.reset_temporal()
    await actors.control.start("worker")
    await actors.control.start("api")


async def opened(actors: Actors) -> Shop:
    """Everybody as the backup finds them."""
    renewing, billed, rejected = [await actors.customer_on_clock() for _ in range(3)]
    paying, returning, buying, wavering, saving, leaving = [
        await actors.customer() for _ in range(6)
    ]
    await renewing.subscribed("pro")
    await billed.subscribe_by_transfer("pro")
    await rejected.save_card()
    await rejected.subscribe_by_transfer("pro")
    (invoice,) = (await rejected.ask("GET", "/billing/invoices"))["data"]
    await returning.bought("small")
    return Shop(
        renewing=renewing, paying=paying, purchase=await paying.buy("small"),
        returning=returning, billed=billed, buying=buying, wavering=wavering, saving=saving,
        leaving=leaving,
        rejected=rejected, transfer=await submit(rejected, invoice["invoice_id"]),
    )  # fmt: skip


async def pay_by_card(customer: Customer) -> None:
    """Pay the only invoice in the browser."""
    ((invoice,), key) = (await customer.ask("GET", "/billing/invoices"))["data"], str(uuid4())
    path, body = f"/billing/invoices/{invoice['invoice_id']}/pay", {"payment_method": "card"}
    await customer.pay(await customer.ask("POST", path, body, key=key))
    await customer.until_subscription("active")


async def charges(shop: Shop) -> dict[str, list[int]]:
    """The amounts that each customer was charged at the provider."""
    people = {name: one for name, one in vars(shop).items() if isinstance(one, Customer)}
    return {
        name: [effect["amount"] for effect in await one.effects()] for name, one in people.items()
    }


async def opened_pages(customer: Customer) -> list[str]:
    """The pages that the customer opened to pay."""
    rows = await customer.rows(
        "SELECT stripe_checkout_session_id AS id FROM payments"
        " WHERE account_id = %(me)s AND flow = 'checkout'"
    )
    return [str(row["id"]) for row in rows]


async def states(actors: Actors, pages: list[str]) -> list[str]:
    """Return the state of each page at the provider."""
    return [await state(actors, f"checkout/sessions/{page}") for page in pages]


async def state(actors: Actors, path: str) -> str:
    """Return the state of an object at the provider."""
    answer = await actors.client.get(f"{actors.stack.sandbox_url}/v1/{path}", headers=_key(actors))
    return str(answer.json()["status"])


def _key(actors: Actors) -> dict[str, str]:
    return {"Authorization": f"Bearer {actors.stack.stripe_secret_key}"}


async def opened_elsewhere(actors: Actors) -> list[str]:
    """A payment and a page that another installation has opened on the same provider account."""
    named = {
        "metadata[account]": ids.encode(ids.ACCOUNT, ids.new()),
        "metadata[payment]": ids.encode(ids.PAYMENT, ids.new()),
        "metadata[matter]": ids.encode(ids.PURCHASE, ids.new()),
    }
    item = "line_items[0][price_data]"
    wanted = {
        "payment_intents": {"amount": "999", "currency": "usd"},
        "checkout/sessions": {
            "mode": "payment", "success_url": "https://example.com",
            "line_items[0][quantity]": "1", f"{item}[currency]": "usd",
            f"{item}[unit_amount]": "999", f"{item}[product_data][name]": "a pack",
        },
    }  # fmt: skip
    opened = []
    for path, fields in wanted.items():
        url = f"{actors.stack.sandbox_url}/v1/{path}"
        answer = await actors.client.post(url, data=fields | named, headers=_key(actors))
        assert answer.status_code == 200, answer.text
        opened.append(f"{path}/{answer.json()['id']}")
    return opened


async def on_balance(customer: Customer) -> int:
    found = await customer.ask("GET", "/billing/balance")
    return int(found["balance_cents"])


async def take_off(
    customer: Customer, minor: int, reason: str = "given as credits"
) -> tuple[int, Json]:
    """Take something off the money balance as an operator: the status and the answer."""
    answer = await customer.actors.client.post(
        f"{API}/admin/accounts/{customer.id}/balance/adjust",
        json={"amount_cents": -minor, "reason": reason},
        headers=customer.actors.headers("*", "admin", str(uuid4())),
    )
    return answer.status_code, answer.json()


async def go_on(shop: Shop) -> Customer:
    """Everything that the backup will know nothing of; answers a customer it never saw."""
    actors = shop.renewing.actors
    await shop.renewing.advance(days=MONTH)
    await shop.paying.pay(shop.purchase)
    await shop.paying.until_purchase(shop.purchase["purchase_id"], "completed")
    (payment,) = (await shop.returning.ask("GET", "/billing/payments"))["data"]
    await actors.client.post(
        f"{API}/admin/payments/{payment['payment_id']}/refund",
        json={"amount_cents": 333, "reason": "asked for"},
        headers=actors.headers("*", "admin", str(uuid4())),
    )
    await pay_by_card(shop.billed)
    await decide(shop.rejected, shop.transfer, "reject", reason="nothing came")
    await pay_by_card(shop.rejected)
    await shop.buying.bought("small")
    await shop.wavering.buy("small")
    await shop.saving.save_card()
    await shop.leaving.buy("small", "checkout")
    declined = await shop.leaving.buy("small", "checkout")
    await actors.sandbox.fail_session(declined["checkout_url"].rpartition("/")[2])
    stranger = await actors.customer()
    await stranger.bought("small")
    return stranger


async def poll(actors: Actors) -> None:
    """The job that stores what no webhook brought: here the events of all that is lost."""
    settings = stack_settings(actors.stack)
    gateway = StripeGateway(settings.stripe_secret_key.get_secret_value(), settings.stripe_api_base)
    async with open_database(settings) as database:
        parts = Dependencies(database=database, provider=gateway, settings=settings)
        job = ScheduledJobs(parts, actors.temporal)
        await ActivityEnvironment().run(job.run, JobRequest(name="poll"))
    await gateway.close()


async def follow(followers: list[Follower]) -> None:
    """Each hears all that there is, and that is all there is."""
    for one in followers:
        await one.go_on()
        assert await one.missed() == [], one.customer


async def test_a_restored_database_learns_what_was_charged_since(
    actors: Actors, tmp_path: Path
) -> None:
    shop, backup = await opened(actors), tmp_path / "billing.dump"
    [at] = await actors.sql("SELECT clock_timestamp() AS real")
    await tool(actors, "pg_dump", "--format=custom", f"--file={backup}", "{database}")
    stranger, siblings = await go_on(shop), await opened_elsewhere(actors)
    *_, renewed = await shop.renewing.invoices()
    followers = [Follower(one) for one in vars(shop).values() if isinstance(one, Customer)]
    await follow(followers)
    charged, pages = await charges(shop), await opened_pages(shop.leaving)
    assert (await states(actors, pages)) == ["open", "open"]
    assert charged["renewing"] == [4900, 4900]
    await restore(actors, backup)
    await poll(actors)

    code, said = await billing(actors, "catch-up")
    assert code == 0, said
    assert f"4900 USD are on the money balance of {shop.renewing.id}" in said.replace(
        "49.00", "4900"
    )
    assert f"{stranger.id} is not here; unless another installation has it, refund it" in said
    assert "1 called back" in said
    assert ("1 left open" in said, "1 pages left open" in said) == (True, True), said
    assert [await state(actors, one) for one in siblings] == ["requires_payment_method", "open"]
    assert "2 remade" in said
    assert "2 pages closed" in said
    assert (await states(actors, pages)) == ["expired", "expired"], "what is lost is not payable"
    assert "2 kept" in said
    assert "on money balances of packs: 1 payments, 9.99 USD" in said
    assert "on money balances of all else: 1 payments, 49.00 USD" in said
    strays = await actors.sql(
        "SELECT type FROM stripe_webhook_events WHERE status IN ('unmatched', 'parked')"
        " AND created_at > %(real)s AND NOT EXISTS ("
        "SELECT FROM payments WHERE stripe_payment_intent_id = object_id)",
        **at,
    )
    assert strays == [], "an operator would be told of each"
    code, again = await billing(actors, "catch-up")
    assert (code, "called back" in again) == (0, False), again
    assert ("2 kept before" in again, "on the money balance" in again) == (True, False), again
    assert ("1 cards kept before" in again, "its card is kept" in again) == (True, False), again
    assert await on_balance(shop.renewing) == 4900, "booked once, however often it is asked for"
    assert await on_balance(shop.buying) == 999
    wish = {"pack": "small"}
    await shop.buying.refused("BILLING_PARKED", "POST", "/billing/purchases", wish, key="parked")
    status, refused = await take_off(shop.buying, 999)
    assert (status, refused["code"]) == (503, "BILLING_PARKED"), "nothing is adjusted before unpark"
    skip = ("skip-numbers", renewed["number"], "--reason", "restored")
    for more, words in (["--dry-run"], "1 numbers would be"), ([], "1 numbers are"):
        code, said = await billing(actors, *skip, *more)
        assert (code, said.strip()) == (0, f"{words} skipped"), said

    for command, words in {"rebuild": "what is due waits for billing unpark", "unpark": ""}.items():
        code, said = await billing(actors, command)
        assert (code, words in said) == (0, True), said
    anew = await shop.buying.buy("small", key="anew")
    assert (anew["status"], await on_balance(shop.buying)) == ("completed", 0), "it is paid already"
    await shop.paying.until_purchase(shop.purchase["purchase_id"], "completed")
    for one in (shop.billed, shop.rejected):
        await wait_for(one.invoices, "the invoice is paid", lambda all: all[0]["paid_at"])
        assert await on_balance(one) == 0
    assert len((await shop.saving.ask("GET", "/billing/payment-methods"))["data"]) == 1

    async def given_back() -> int:
        (payment,) = (await shop.returning.ask("GET", "/billing/payments"))["data"]
        return int(payment["amount_refunded"])

    await wait_for(given_back, "the refund is booked", lambda minor: minor == 333)
    await shop.renewing.advance(days=MONTH)
    await shop.rejected.advance(days=20)
    assert await charges(shop) == charged, "nobody is charged twice"
    assert await on_balance(shop.renewing) == 0, "the month is paid with what was charged for it"
    *_, anew = await shop.renewing.invoices()
    assert (anew["status"], anew["number"] > renewed["number"]) == ("paid", True)
    await follow(followers)
    assert all(len(one.rewound_to) == 1 for one in followers), "each had heard of what is lost"
    code, said = await billing(actors, "verify")
    assert code == 0, said


async def lost_purchase(customer: Customer) -> str:
    """Buy a pack that the backup will not know; return the intent that paid it."""
    begun = await customer.buy("small")
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    return intent_of(begun)


async def told_of(actors: Actors, intents: list[str]) -> dict[tuple[str, str], str]:
    """Return what operators are told of these payments, once no event of theirs is unmatched."""
    intent = "payload #>> '{data,object,payment_intent}'"
    query = (
        f"SELECT type, status, error, {intent} AS intent FROM stripe_webhook_events"
        f" WHERE {intent} = ANY (CAST(%(intents)s AS text[]))"
    )

    def are_settled(found: list[Json]) -> bool:
        last = ("charge.refunded", "charge.dispute.closed")
        ended = {one["intent"] for one in found if one["type"] in last}
        return ended == {*intents} and all(one["status"] != "unmatched" for one in found)

    found = await wait_for(
        lambda: actors.sql(query, intents=intents), "each event is looked into", are_settled
    )
    parked = [one for one in found if one["status"] == "parked"]
    return {(one["intent"], one["type"]): one["error"] for one in parked}


async def test_what_becomes_later_of_the_money_of_lost_payments_is_told(
    actors: Actors, tmp_path: Path
) -> None:
    people, backup = [await actors.customer() for _ in range(4)], tmp_path / "billing.dump"
    awaiting, agreed, careless, robbed = people
    await tool(actors, "pg_dump", "--format=custom", f"--file={backup}", "{database}")
    intents = [await lost_purchase(one) for one in people]
    dispute = (await actors.sandbox.dispute(intents[0])).body["id"]
    await restore(actors, backup)

    code, said = await billing(actors, "catch-up")
    assert (code, f"{dispute} is not decided" in said) == (0, True), said
    assert [await on_balance(one) for one in people] == [0, 999, 999, 999]
    await actors.sandbox.finish_dispute(dispute, "won")
    code, said = await billing(actors, "catch-up")
    assert (code, await on_balance(awaiting)) == (0, 999), said
    for command in ("rebuild", "unpark"):
        code, said = await billing(actors, command)
        assert code == 0, said

    status, answer = await take_off(agreed, 999, f"refund of {intents[1]}")
    assert status == 201, answer
    for intent in intents[1:3]:
        assert (await actors.sandbox.refund(intent)).status == 200
    dispute = (await actors.sandbox.dispute(intents[3])).body["id"]
    await actors.sandbox.finish_dispute(dispute, "lost")
    told = await told_of(actors, intents[1:])
    for words in (("park", "--reason", "asked again"), ("catch-up",), ("unpark",)):
        code, said = await billing(actors, *words)
        assert code == 0, said
    assert await told_of(actors, intents[1:]) == told, "a repeat does not silence it"
    given = told.pop((intents[2], "charge.refunded"))
    taken = told.pop((intents[3], "charge.dispute.funds_withdrawn"))
    assert told == {}, "a refund that was taken off the balance is nobody's work"
    assert (careless.id in given, "off the balance" in given) == (True, True), given
    assert (robbed.id in taken, "off the balance" in taken) == (True, True), taken

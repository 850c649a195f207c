"""Lives a life: gives its commands one after the other and writes the diary.

After each command nothing is asked until all that was due is done, so that whatever the provider's
journal holds between two commands was caused by the first.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Final

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.walk import deck
from tests.integration.walk.acts import Acts
from tests.integration.walk.diary import Command, Entry, Json, Life

SHOWN: Final = 60
TIME: Final = frozenset({"advance", "to_renewal"})
BUSY: Final = """
SELECT (SELECT count(*) FROM matters m WHERE m.account_id = a.id AND m.status = 'open'
        AND m.closed_at IS NULL AND m.next_due <= coalesce(a.clock_at, now()))
     + (SELECT count(*) FROM stripe_webhook_events e WHERE e.account_id = a.id
        AND e.status = 'received') AS busy, a.stripe_customer_id AS customer
FROM accounts a WHERE a.id = %(me)s
"""
TEAM_TERMS: Final[Json] = {
    "family": "team",
    "name": "Team",
    "monthly_credits": "40",
    "trial_days": 40,
    "seats": {"least": 1, "most": 9},
    "limits": [
        {
            "meter": "ai_responses", "included": "500", "then": "overage",
            "prices": {"USD": {"model": "graduated", "tiers": [
                {"up_to": "400", "unit_price": "0.03"}, {"unit_price": "0.01"},
            ]}},
        },
        {"meter": "storage_gb", "included": "5", "then": "overage", "prices": {"USD": "0.25"}},
    ],
    "prices": {"month": {"USD": 1200}, "year": {"USD": 12000}},
}  # fmt: skip
ENDING: Final = (
    Command("settle", {"outcome": "succeed"}),
    Command("settle_order", {"status": "COMPLETED"}),
    Command("script", {"words": [], "then": "normal"}),
    Command("advance", {"days": 2, "hours": 0}),
    Command("advance", {"days": 33, "hours": 0}),
)
"""Every life ends with cards that pay, and time for what is left to do."""
STOPPED: Final = 599
"""The status of a command that was never answered, or whose clock never arrived."""
CALM_SECONDS: Final = 5.0
GREEN_SECONDS: Final = 20.0


async def live(actors: Actors, seed: int, commands: Sequence[Command]) -> Life:
    """A life of a fresh account by these commands."""
    start, zone, weather, country = deck.circumstances(seed)
    customer = await actors.customer_on_clock(start, zone=zone)
    await _settle_down(customer, country)
    tax = deck.TAX if country else 0
    life = Life(seed, str(customer.account["external_id"]), list(commands), weather, zone, tax)
    acts, born = Acts(customer), datetime.fromisoformat(start)
    life.entries.append(Entry(0, Command("be_born"), born, born, 0, 0, 0, {}, {}))
    async with AsyncExitStack() as sky:
        await _bring(sky, customer, weather, seed)
        await _go_on(acts, life, commands)
    await _go_on(acts, life, ENDING)
    life.verified = await _verified(customer)
    return life


async def _go_on(acts: Acts, life: Life, commands: Sequence[Command]) -> None:
    """These commands, unless one of them was never answered."""
    for command in commands:
        if life.entries[-1].status != STOPPED:
            life.entries.append(await _done(acts, life.entries[-1], command))


async def _settle_down(customer: Customer, country: str | None) -> None:
    """A plan by seats is put on sale, and the address written in a country with tax, if any."""
    await customer.actors.operate("PUT", f"/admin/plans/{deck.TEAM}", TEAM_TERMS, status=200)
    if country is None:
        return
    rates = {"name": "AFA", "rates": {"standard": str(deck.TAX)}}
    await customer.actors.operate("PUT", f"/admin/taxes/{country}", rates, status=200)
    address = {"line1": "Fő utca 1", "city": "Budapest", "country": country, "is_default": True}
    await customer.ask("POST", "/billing/addresses", address, status=201)


async def _bring(sky: AsyncExitStack, customer: Customer, weather: str, seed: int) -> None:
    """The fate of the provider's events about this account, while it lives."""
    if weather == "fair":
        return
    sandbox, whose = customer.actors.sandbox, {"account": customer.id}
    orders: dict[str, dict[str, Any]] = {
        "shuffle": {"seed": seed, "seconds": 0.1},
        "duplicate": {"copies": 2},
        "lost": {},
    }
    action = "drop" if weather == "lost" else weather
    plan = await sandbox.webhooks(action, metadata=whose, **orders[weather])
    sky.push_async_callback(sandbox.clear, "webhooks", plan)


async def _done(acts: Acts, last: Entry, command: Command) -> Entry:
    """One command, lived through; it begins as the last one ended."""
    entry = Entry(
        last.number + 1, command, last.clock_to, last.clock_to, last.ended, 0, 0, last.after, {}
    )
    if command.name in TIME:
        entry.foretold = await _foretold(acts)
    try:
        entry.status, entry.body, entry.sent = await getattr(acts, command.name)(**command.terms)
    except AssertionError as stopped:
        entry.status, entry.body = STOPPED, {"code": "STOPPED", "detail": str(stopped)[:400]}
    entry.answered = await _last_row(acts) if entry.status else last.ended
    if not entry.status:
        entry.ended, entry.after = last.ended, last.after
        return entry
    await _calm(acts.customer)
    entry.clock_to, entry.ended = await acts.now(), await _last_row(acts)
    entry.after = await acts.subscription()
    return entry


async def _foretold(acts: Acts) -> list[Json]:
    answer = await acts.customer.ask("GET", f"/billing/timeline?upcoming={SHOWN}")
    return list(answer["future"])


async def _last_row(acts: Acts) -> int:
    rows = await acts.customer.actors.sandbox.journal(last=1)
    return int(rows[0]["seq"]) if rows else 0


async def _calm(customer: Customer) -> None:
    """Until no event is on its way and nothing is due; what stays busy is the judge's matter."""

    async def calm() -> bool:
        row = (await customer.rows(BUSY))[0]
        if row["busy"]:
            return False
        if row["customer"] is None:
            return True
        sandbox = customer.actors.sandbox
        return not await sandbox.deliveries(customer=row["customer"], state="pending")

    try:
        await wait_for(calm, "nothing is due", patience=CALM_SECONDS)
    except AssertionError:
        return


async def _verified(customer: Customer) -> Json:
    """The product's own checks, as soon as they are green; else the last of them."""
    path = f"/admin/integrity?account={customer.id}"
    seen: Json = {}

    async def green() -> bool:
        seen.update(await customer.actors.operate("GET", path))
        return bool(seen["ok"])

    try:
        await wait_for(green, "the books are green", patience=GREEN_SECONDS)
    except AssertionError:
        return seen
    return seen

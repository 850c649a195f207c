"""Finds and records what Stripe did after the point that the database was restored to.

It runs only while billing is parked, so that nothing moves meanwhile; it can be repeated.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.money import show_money
from billing.core.settings import Settings
from billing.money.payments import event_owners
from billing.money.refunds.rules import Taken
from billing.money.restores import rules, service
from billing.money.restores.schemas import FoundIntent, FoundObject, FoundPage, Placed, Verdict
from billing.platform.parking import store as parkings
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.schemas import ProviderEvent
from cli.errors import StackError
from gateways.events import readable
from gateways.stripe import StripeGateway
from gateways.stripe_history import StripeHistory

BEFORE: Final = timedelta(hours=1)
"""Clocks differ, and rows are written after the call."""
SILENT: Final = frozenset({"foreign", "known", "over", "kept_before"})
"""Verdicts that are counted, but not listed one by one."""
LOOKED_UP_BY_NONE: Final = frozenset({"kept", "over", "nobodys"})
"""Verdicts on intents whose events no matter waits for; those about kept money are set aside by a
rule of their own.
"""
Tell = Callable[[str], None]


class CatchUp:
    """One pass over Stripe's objects; `tell` gets each line for the operator."""

    def __init__(self, database: Database, gateway: StripeGateway, since: datetime, tell: Tell):
        self._database = database
        self._gateway = gateway
        self._history = StripeHistory(gateway.client)
        self._since = since
        self._tell = tell
        self._began_at = real_now().replace(microsecond=0)
        self._kept: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._balances: list[tuple[FoundIntent, int]] = []
        """The payments whose money was put on a balance, and how much of each."""

    async def run(self) -> None:
        """Process customers first: cards and payments need them. Errors: Unavailable."""
        async with self._database.operator() as connection:
            self.counts["refunds looked for first"] = await service.doubt_refunds(connection)
        try:
            await self._walk()
        finally:  # a repeat sums only what it finds anew
            self.sum_up()

    async def _walk(self) -> None:
        for customer in await self._history.customers(self._since):
            await self._customer(customer)
        # Pages before intents: an intent behind a page is canceled with it.
        lost = [await self._page(page) for page in await self._history.open_pages(self._since)]
        lost += [await self._intent(found) for found in await self._history.intents(self._since)]
        lost += [await self._card(setup) for setup in await self._history.saved(self._since)]
        await self._events({name for name in lost if name})

    async def _customer(self, found: FoundObject) -> None:
        if "account" not in found.metadata:
            return
        async with self._database.operator() as connection:
            words = await service.keep_customer(connection, found)
        if words:
            self._note("customers of unknown accounts", words)

    async def _page(self, found: FoundPage) -> str | None:
        """Close an open page of an account that is here unless a payment here waits for it; return
        the id of a closed one.
        """
        if not {"account", "payment"} <= found.metadata.keys():
            return None
        async with self._database.operator() as connection:
            if await service.keep_page(connection, found):
                return None
            account_id = await service.account_of(connection, found.metadata)
        name, matter = found.page.session_id, found.metadata.get("matter")
        if account_id is None:
            words = f"{found.metadata['account']} is not here; unless another installation has it"
            self._note("pages left open", f"{name}: {words}, close the page of {matter} at Stripe")
            return None
        page = await self._gateway.expire_checkout(name, f"{name}/called-back")
        if page.status != "expired":  # it was paid just now, and its intent is found
            return None
        self._note("pages closed", f"{name}: nobody can pay on this page of {matter} any more")
        return name

    async def _intent(self, found: FoundIntent) -> str | None:
        """Record an intent; return its id if no matter will look it up."""
        verdict = await self._verdict(found)
        if verdict == "called_back":
            # It may have been paid just now: the provider's answer to the cancel decides.
            key = f"{found.intent_id}/called-back"
            after = await self._gateway.cancel_intent(found.intent_id, key)
            self.counts[verdict] += after.is_over
            found = found.model_copy(update={"outcome": after})
            verdict = await self._verdict(found)
        taken = Taken()
        if verdict == "kept":
            taken = await self._gateway.taken_back(found.intent_id)
        async with self._database.operator() as connection:
            placed = await service.place(connection, found, taken, real_now())
        self.report(found, placed)
        if placed.verdict == "kept":
            self._kept.add(found.intent_id)
        return found.intent_id if placed.verdict in LOOKED_UP_BY_NONE else None

    async def _verdict(self, found: FoundIntent) -> Verdict:
        async with self._database.operator() as connection:
            return rules.decide(found, await service.known_of(connection, found))

    async def _card(self, found: FoundObject) -> str | None:
        """Keep a card that was saved; return its setup's id if that is lost."""
        async with self._database.operator() as connection:
            if not await service.is_lost_setup(connection, found):
                return None
        outcome = await self._gateway.retrieve_setup_intent(found.object_id)
        if outcome is None or outcome.card is None:
            return found.object_id
        async with self._database.operator() as connection:
            is_new = await service.keep_card(connection, found, outcome.card)
        if not is_new:
            self.counts["cards kept before"] += 1
            return found.object_id
        self._note(
            "cards kept", f"{found.object_id}: its card is kept for {found.metadata['account']}"
        )
        return found.object_id

    async def _events(self, lost: set[str]) -> None:
        """Pass events (refunds, disputes, cards) to their matters; those of lost payments, pages
        and cards without one are ignored, or an operator would be told of each.
        """
        async for page in self._gateway.events_between(self._since, real_now()):
            found = readable(page.events)
            strays = [one.event_id for one in found if self._is_stray(one, lost)]
            async with self._database.operator() as connection:
                owners = await event_owners.receive(connection, found, "poll", real_now())
                await inbox.ignore_unmatched(connection, strays, "a restore lost what it is about")
            self.counts["events to look into"] += sum(owner is not None for owner in owners)

    def _is_stray(self, event: ProviderEvent, lost: set[str]) -> bool:
        """True of an event about something that is lost, unless the kept sum is without it."""
        named = {event.intent_id, event.object_id}
        is_new = event.created_at is None or event.created_at >= self._began_at
        return bool(lost & named) and not (is_new and self._kept & named)

    def report(self, found: FoundIntent, placed: Placed) -> None:
        """Count an intent, and list it unless nothing is to be known of it."""
        if placed.verdict in SILENT:
            self.counts[placed.verdict] += 1
            return
        # The operator has to give the credits of a lost pack, and nothing for the rest.
        is_lost_pack = placed.verdict == "kept" and placed.kept_minor and rules.is_pack(found)
        prefix = f"{placed.verdict}, a pack" if is_lost_pack else placed.verdict
        self._note(placed.verdict, f"{prefix}: {placed.words}")
        if placed.kept_minor:
            self._balances.append((found, placed.kept_minor))

    def sum_up(self) -> None:
        """Tell the sums that this run put on money balances, those of packs apart."""
        for name, is_pack in {"packs": True, "all else": False}.items():
            kept = [one for one in self._balances if rules.is_pack(one[0]) == is_pack]
            sums: Counter[str] = Counter()
            for found, minor in kept:
                sums[found.currency] += minor
            shown = [show_money(minor, currency) for currency, minor in sorted(sums.items())]
            if kept:
                told = f"{len(kept)} payments, {', '.join(shown)}"
                self._tell(f"put by this run on money balances of {name}: {told}")

    def _note(self, what: str, words: str) -> None:
        self.counts[what] += 1
        self._tell(words)


async def catch_up(settings: Settings, since: datetime | None, tell: Tell) -> Counter[str]:
    """Process Stripe's objects since an instant, by default since the database's data ends.

    Errors: StackError if billing is not parked, Unavailable if Stripe does not answer.
    """
    gateway = StripeGateway(settings.stripe_secret_key.get_secret_value(), settings.stripe_api_base)
    try:
        async with open_database(settings) as database:
            begun = await _begun(database, since)
            tell(f"Stripe's objects since {begun:%Y-%m-%d %H:%M:%S} UTC")
            walk = CatchUp(database, gateway, begun, tell)
            await walk.run()
    finally:
        await gateway.close()
    return walk.counts


async def _begun(database: Database, since: datetime | None) -> datetime:
    async with database.operator() as connection:
        parking = await parkings.current(connection)
    if parking is None:
        raise StackError("billing is not parked: run billing park --reason … first")
    if since is None and parking.data_until is None:
        raise StackError("the database does not record when its data ends: set --since")
    return since or (parking.data_until or parking.parked_at) - BEFORE

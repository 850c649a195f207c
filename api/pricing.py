"""Prices of an external product service, fetched before uses are rated, and cached here.

Each price is also stored in the database as a version, so that the last known price is used after a
restart or during an outage.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

from prometheus_client import Gauge

from api.identity.tenants import Tenant
from billing.catalog.products.provider import PricesAway, PriceSource
from billing.catalog.products.spec import PRODUCT_KEY
from billing.core.database import Database
from billing.core.errors import BillingError, NotFound, Unavailable
from billing.metering.provided_prices import service

REMEMBERED: Final = 50_000
ASKED_AT_ONCE: Final = 16
ASKED_FOR_ONE: Final = 8
"""Requests for one account at a time, so that no account keeps the others waiting."""
RETRY_SECONDS: Final = 5.0
"""Seconds without requests after a failure; the last known price is used meanwhile."""
ANSWERS: Final = Gauge(
    "billing_product_service_answers", "0 while the last price that was asked for did not come"
)
ANSWERS.set(1)
_logger = logging.getLogger("api.pricing")
_KEY: Final = re.compile(PRODUCT_KEY)


class Wanted(NamedTuple):
    """A price to fetch; `service` names the meter of a product that is new here (`for_all`)."""

    tenant: Tenant
    product: str
    service: str | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """The result of a request, and the time until which it may be used."""

    until: float
    refusal: BillingError | None


class Prices:
    """One per API process; without a source the local catalog prices everything."""

    def __init__(
        self,
        database: Database,
        source: PriceSource | None = None,
        *,
        fresh_seconds: float = 60,
        stale: timedelta = timedelta(days=1),
        time: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._source = source
        self._fresh_seconds = fresh_seconds
        self._stale = stale
        self._time = time
        self._known: OrderedDict[tuple[Tenant, str], _Known] = OrderedDict()
        self._asking: dict[tuple[Tenant, str], asyncio.Task[BillingError | None]] = {}
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE)
        self._own_slots: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._away_until = 0.0

    @property
    def are_external(self) -> bool:
        """True when a product service is configured."""
        return self._source is not None

    async def need(self, tenant: Tenant, product: str | None, service: str | None) -> None:
        """Fetch a product's price unless a recent one is known.

        Errors: PRODUCT_PRICING_NOT_FOUND; METER_NOT_FOUND; PRICING_UNAVAILABLE when the service
        does not answer and has not priced the product before.
        """
        if self._source is None or product is None:
            return
        refusal = await self._find(self._source, Wanted(tenant, product, service))
        if refusal is not None:
            # A new error: a cached one would keep the traceback of its first raise.
            raise type(refusal)(refusal.code)

    async def refusals(self, wanted: Collection[Wanted]) -> dict[tuple[Tenant, str], BillingError]:
        """Fetch many products' prices as `need` does; return the error of each one without."""
        source = self._source
        if source is None:
            return {}
        # Of one product's several the last counts: one that names its service.
        ordered = sorted(wanted, key=lambda one: one.service is not None)
        rest = iter({(one.tenant, one.product): one for one in ordered}.items())
        found: dict[tuple[Tenant, str], BillingError] = {}

        async def find_next() -> None:
            for key, one in rest:
                refusal = await self._find(source, one)
                if refusal is not None:
                    found[key] = refusal

        # Not all at once: those under way go on when one fails or the caller has left.
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(ASKED_AT_ONCE):
                    group.create_task(find_next())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return found

    async def close(self) -> None:
        """Close the connections to the service."""
        if self._source is not None:
            await self._source.close()

    async def _find(self, source: PriceSource, wanted: Wanted) -> BillingError | None:
        key = (wanted.tenant, wanted.product)
        known = self._known.get(key)
        if known is not None and self._time() < known.until:
            return known.refusal
        if not _KEY.fullmatch(wanted.product):
            return NotFound("PRODUCT_PRICING_NOT_FOUND")
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(source, wanted))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, source: PriceSource, wanted: Wanted) -> BillingError | None:
        tenant, product, used_by = wanted
        own = self._own_slots.setdefault(tenant.id, asyncio.Semaphore(ASKED_FOR_ONE))
        async with own, self._slots:
            try:
                if self._time() < self._away_until:
                    raise PricesAway("it was away a moment ago")
                priced = await source.pricing(product, tenant.external_id)
            except PricesAway as away:
                return await self._use_last_known(wanted, away)
            ANSWERS.set(1)
            refusal: BillingError | None = None
            async with self._database.operator() as connection:
                if priced is not None:
                    try:
                        await service.keep(connection, tenant.id, product, priced, used_by)
                    except NotFound as error:
                        return error  # the next caller may name the service
                elif not await service.withdraw(connection, tenant.id, product):
                    refusal = NotFound("PRODUCT_PRICING_NOT_FOUND")
        self._remember(wanted, self._fresh_seconds, refusal)
        return refusal

    async def _use_last_known(self, wanted: Wanted, away: PricesAway) -> BillingError | None:
        """Use the last known price unless it is too old."""
        ANSWERS.set(0)
        if not away.reachable:
            self._away_until = self._time() + RETRY_SECONDS
        _logger.warning("no price of %s from the product service: %s", wanted.product, away)
        async with self._database.operator() as connection:
            if not await service.is_known(
                connection, wanted.tenant.id, wanted.product, self._stale
            ):
                return Unavailable("PRICING_UNAVAILABLE")
        self._remember(wanted, min(RETRY_SECONDS, self._fresh_seconds), None)
        return None

    def _remember(self, wanted: Wanted, seconds: float, refusal: BillingError | None) -> None:
        key = (wanted.tenant, wanted.product)
        self._known[key] = _Known(self._time() + seconds, refusal)
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

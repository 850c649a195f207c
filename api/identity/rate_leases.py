"""Rate limits of callers, shared by all processes of the API through Postgres.

Each process takes a small part of a rate from Postgres and counts it down locally. While Postgres
is unavailable it counts alone.
"""

import asyncio
import logging
from collections import OrderedDict
from datetime import timedelta
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import monotonic
from typing import Final
from uuid import UUID

import psycopg
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from api.identity.auth import MAX_CLAIM_CHARS, SERVICE, Caller
from api.identity.request_windows import (
    HEADERS,
    WATCHED_CALLERS,
    RateClass,
    RateLimit,
    RateLimited,
    RateStatus,
    class_of,
)
from billing.core.database import Database
from billing.core.database_words import database_words
from billing.core.settings import Settings
from billing.platform.rate_windows import store

PARTS: Final = 50
"""A rate is divided into this many parts, so a process withholds at most one from the others."""
ALONE_SECONDS: Final = 5.0
_logger = logging.getLogger("api.rates")


class _Share:
    """The part of a rate that a process may let through before it asks Postgres again."""

    __slots__ = ("left", "lock", "rest", "until")

    def __init__(self) -> None:
        self.left, self.rest, self.until = 0, 0, 0.0
        self.lock = asyncio.Lock()

    def is_spent(self) -> bool:
        """True when the next request must ask Postgres; False for a caller that has used up its
        rate.
        """
        return self.until <= monotonic() or (self.left == 0 and self.rest > 0)


class RateLeases:
    """The shared form of one rate."""

    def __init__(self, name: str, rate: RateLimit, database: Database) -> None:
        self._name, self._rate, self._database = name, rate, database
        self._block = max(1, rate.amount // PARTS)
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._alone_until = 0.0

    async def hit(self, caller: str) -> RateStatus:
        """Count one request; raises `RateLimited` with the seconds to wait."""
        # A caller's name may be long, and need not be kept.
        caller = blake2b(caller.encode(), digest_size=16).hexdigest()
        share = self._shares.get(caller)
        if share is None:
            share = self._shares[caller] = _Share()
            if len(self._shares) > WATCHED_CALLERS:
                self._shares.popitem(last=False)
        if not share.is_spent():
            return self._take(share)
        async with share.lock:
            while share.is_spent():
                if self._alone_until > monotonic() or not await self._ask(caller, share):
                    return self._rate.hit(caller)
            return self._take(share)

    def _take(self, share: _Share) -> RateStatus:
        seconds = max(1, ceil(share.until - monotonic()))
        if share.left == 0:
            raise self._rate.refused(seconds)
        share.left -= 1
        return RateStatus(self._rate.amount, share.left + share.rest, seconds)

    async def _ask(self, caller: str, share: _Share) -> bool:
        name = f"{self._name} {caller}"
        span = timedelta(seconds=self._rate.seconds)
        try:
            async with self._database.operator_statement() as connection:
                lease = await store.lease(connection, name, self._rate.amount, span, self._block)
        except (SQLAlchemyError, psycopg.Error) as error:
            self._alone_until = monotonic() + ALONE_SECONDS
            _logger.warning("rates are counted by this process alone: %s", database_words(error))
            return False
        share.left, share.rest = lease.granted, lease.rest
        share.until = monotonic() + lease.seconds
        return True


class CallerRates:
    """The rate of each class, from settings; addresses and fresh reads are counted per process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        every = settings.rate_limit
        self._limits: dict[RateClass, RateLimit] = {
            "money": RateLimit(every or settings.rate_limit_money),
            "metering": RateLimit(every or settings.rate_limit_metering),
            "reads": RateLimit(every or settings.rate_limit_reads),
        }
        self._shared = {
            kind: RateLeases(kind, rate, database) for kind, rate in self._limits.items()
        }

    async def count(self, request: Request, caller: Caller, account: UUID | str) -> None:
        """Count a request of its class, and leave its rate headers in its scope.

        `account` is the one it acts for, by name only before it was looked up: an account has one
        rate. Services meter without a limit. Errors: RATE_LIMITED.
        """
        kind = class_of(request.method, request.scope["path"])
        if kind == "metering" and SERVICE in caller.roles:
            return
        try:
            standing = await self._shared[kind].hit(_name(caller, account))
        except RateLimited as refused:
            standing = RateStatus(self._limits[kind].amount, 0, refused.fields["retry_after"])
            raise
        finally:
            request.scope[HEADERS] = standing.headers()

    async def count_charge(self, caller: Caller, account: UUID) -> None:
        """Count a use that charges a card at once: it moves money. Errors: RATE_LIMITED."""
        await self._shared["money"].hit(_name(caller, account))

    def count_address(self, kind: RateClass, request: Request) -> None:
        """Count a request by the address it came from. Errors: RATE_LIMITED."""
        self._limits[kind].hit(f"address {_origin(request.client.host) if request.client else ''}")

    def count_fresh(self, account: UUID) -> None:
        """Count a read that no replica may serve. Errors: RATE_LIMITED."""
        self._limits["reads"].hit(f"fresh {account}")


def _origin(host: str) -> str:
    """Return whose rate an address has: one customer of a network has a whole /64 of IPv6."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:  # how a socket for both names a caller by IPv4
        return str(address.ipv4_mapped)
    return address.packed[:8].hex()


def _name(caller: Caller, account: UUID | str) -> str:
    """Return whose rate it is: an operator's subject per account, or a customer's account."""
    whose = account.hex if isinstance(account, UUID) else account
    if len(whose) > MAX_CLAIM_CHARS:  # no account's: else each such text would have a rate
        whose = ""
    return f"caller {'*' if caller.operates else ''} {caller.subject} {whose}"

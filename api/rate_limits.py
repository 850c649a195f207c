"""Requests per caller in a moving window of this process, one rate for each class of routes.

Money is what customers write, metering what services ask before and after each use, and reads are
all the rest.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Set
from math import ceil
from time import monotonic
from typing import Final, Literal, NamedTuple

from fastapi import Request

from api.auth import SERVICE
from billing.core.errors import BillingError
from billing.core.settings import Settings

RateClass = Literal["money", "metering", "reads"]
HEADERS: Final = "billing.rate"
"""Scope key under which a gate leaves the headers that tell the caller where it stands."""
WATCHED_CALLERS: Final = 50_000
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_UNITS: Final = ", ".join(_SECONDS)
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CUSTOMERS: Final = "/api/v1/billing/"
_METERING: Final = (
    "/api/v1/usage/", "/api/v1/quota/", "/api/v1/billing/calculate", "/api/v1/billing/process",
    "/api/v1/billing/credits/holds",
)  # fmt: skip


class RateLimited(BillingError):
    """The caller sent more requests than the rate allows."""

    status = 429


class Standing(NamedTuple):
    """The rate, the requests that are left of it, and the seconds until the oldest is forgotten."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The `RateLimit-*` headers."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset),
        ]


class RateLimit:
    """At most so many requests in any window of so long, per caller: "600/minute"."""

    def __init__(self, notation: str) -> None:
        amount, _, unit = notation.partition("/")
        if not amount.isdecimal() or not int(amount) or unit not in _SECONDS:
            raise ValueError(f"BILLING_RATE_LIMIT…={notation}: write 600/minute ({_UNITS})")
        self.amount, self.seconds = int(amount), _SECONDS[unit]
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, caller: str) -> Standing:
        """Count one request; raises `RateLimited` with the seconds to wait."""
        now = monotonic()
        times = self._seen.get(caller)
        if times is None:
            times = self._seen[caller] = deque()
            if len(self._seen) > WATCHED_CALLERS:
                self._seen.popitem(last=False)
        while times and times[0] + self.seconds <= now:
            times.popleft()
        if len(times) == self.amount:
            raise RateLimited(
                "RATE_LIMITED",
                f"more than {self.amount} requests in {self.seconds} seconds",
                retry_after=max(1, ceil(times[0] + self.seconds - now)),
            )
        times.append(now)
        return Standing(
            self.amount, self.amount - len(times), max(1, ceil(times[0] + self.seconds - now))
        )


class RateLimits(Mapping[RateClass, RateLimit]):
    """The rate of each class, from settings."""

    def __init__(self, settings: Settings) -> None:
        every = settings.rate_limit
        self._limits: dict[RateClass, RateLimit] = {
            "money": RateLimit(every or settings.rate_limit_money),
            "metering": RateLimit(every or settings.rate_limit_metering),
            "reads": RateLimit(every or settings.rate_limit_reads),
        }

    def count(self, request: Request, caller: str, roles: Set[str]) -> None:
        """Count a request of its class, and leave the headers about it in its scope.

        Services meter without a limit. Errors: RATE_LIMITED.
        """
        kind = class_of(request.method, request.scope["path"])
        if kind == "metering" and SERVICE in roles:
            return
        rate = self._limits[kind]
        try:
            standing = rate.hit(caller)
        except RateLimited as refused:
            standing = Standing(rate.amount, 0, refused.fields["retry_after"])
            raise
        finally:
            request.scope[HEADERS] = standing.headers()

    def __getitem__(self, name: RateClass) -> RateLimit:
        return self._limits[name]

    def __iter__(self) -> Iterator[RateClass]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)


def class_of(method: str, path: str) -> RateClass:
    """The class of a request by its canonical path."""
    if method in _READS:
        return "reads"
    if path.startswith(_METERING):
        return "metering"
    return "money" if path.startswith(_CUSTOMERS) else "reads"

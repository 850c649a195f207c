"""Requests per caller in a moving window of this process, and the classes of routes.

Money covers customers' writes, metering what services ask before and after each use, and reads
everything else. A use that charges a card counts as both metering and money (card_usage.py).
"""

from collections import OrderedDict, deque
from math import ceil
from time import monotonic
from typing import Final, Literal, NamedTuple

from billing.core.errors import BillingError

RateClass = Literal["money", "metering", "reads"]
HEADERS: Final = "billing.rate"
"""Scope key under which a gate leaves the headers that state the caller's remaining requests."""
WATCHED_CALLERS: Final = 50_000
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_UNITS: Final = ", ".join(_SECONDS)
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CUSTOMERS: Final = ("/api/v1/billing/", "/api/v1/usage/")
_OPERATORS: Final = "/api/v1/admin/"
_SIGN_UPS: Final = "/api/v1/admin/accounts"
_METERING: Final = (
    "/api/v1/usage/record", "/api/v1/usage/batch", "/api/v1/quota/", "/api/v1/billing/calculate",
    "/api/v1/billing/credits/holds",
)  # fmt: skip


class RateLimited(BillingError):
    """The caller exceeded its rate limit."""


class RateStatus(NamedTuple):
    """The rate, the requests left, and the seconds until more are available."""

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
    """At most this many requests per caller in any window of this length: "600/minute"."""

    def __init__(self, notation: str) -> None:
        amount, _, unit = notation.partition("/")
        if not amount.isdecimal() or not int(amount) or unit not in _SECONDS:
            raise ValueError(f"BILLING_RATE_LIMIT…={notation}: write 600/minute ({_UNITS})")
        self.amount, self.seconds = int(amount), _SECONDS[unit]
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, caller: str) -> RateStatus:
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
            raise self.refused(max(1, ceil(times[0] + self.seconds - now)))
        times.append(now)
        return RateStatus(
            self.amount, self.amount - len(times), max(1, ceil(times[0] + self.seconds - now))
        )

    def refused(self, seconds: int) -> RateLimited:
        """Return the refusal of one request too many, with the seconds to wait."""
        words = f"more than {self.amount} requests in {self.seconds} seconds"
        return RateLimited("RATE_LIMITED", words, retry_after=seconds)


def class_of(method: str, path: str) -> RateClass:
    """Return the class of a request by its canonical path."""
    if method in READS:
        return "reads"
    if path.startswith(_METERING):
        return "metering"
    return "money" if path.startswith(_CUSTOMERS) else "reads"


def may_move_money(method: str, path: str) -> bool:
    """Return True for writes of customers and operators by the canonical path, except metering and
    the opening of an account.
    """
    if class_of(method, path) == "money":
        return True
    return method not in READS and path.startswith(_OPERATORS) and path != _SIGN_UPS

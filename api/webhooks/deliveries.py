"""Counts webhook deliveries that this process accepted and refused; its heartbeat reports them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter

from api.answers.problems import code_of
from billing.core.clock import real_now
from billing.platform.processes.schemas import STRANGER, TAKEN, Deliveries
from billing.platform.provider_inbox.refusals import CODE, Stranger

DELIVERIES: Final = Counter(
    "billing_webhook_deliveries",
    "Webhook deliveries by provider and outcome: taken, stranger, or the code of the refusal",
    ["provider", "outcome"],
)
# Prometheus does not count the value with which a series appears: the first refusals would be lost.
for _provider in ("stripe", "paypal"):
    for _outcome in (
        TAKEN, CODE, "INVALID_PAYLOAD", "UNAVAILABLE", "DATABASE_UNAVAILABLE", "INTERNAL",
    ):  # fmt: skip
        DELIVERIES.labels(_provider, _outcome)


class DeliveryCount:
    """Counts since the process started, by provider and outcome."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Deliveries] = {}

    @contextmanager
    def counting(self, provider: str) -> Iterator[None]:
        """Count the delivery received inside this context."""
        try:
            yield
        except Stranger:
            self._count(provider, STRANGER)
            raise
        except Exception as refusal:
            self._count(provider, code_of(refusal))
            raise
        self._count(provider, TAKEN)

    def counts(self) -> tuple[Deliveries, ...]:
        """Return every count."""
        return tuple(self._known.values())

    def _count(self, provider: str, outcome: str) -> None:
        DELIVERIES.labels(provider, outcome).inc()
        known = self._known.get((provider, outcome))
        self._known[provider, outcome] = Deliveries(
            provider=provider,
            outcome=outcome,
            count=known.count + 1 if known is not None else 1,
            last_at=real_now(),
        )

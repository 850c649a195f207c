"""The services of one API process: settings, connections, caches and batchers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from temporalio.client import Client

from api.account_turns import OF_ALL, AccountTurns
from api.batching.balances import Balances
from api.batching.hold_batcher import HoldBatcher
from api.batching.usage_batcher import UsageBatcher
from api.identity.auth import Verifier
from api.identity.jwks import Jwks
from api.identity.rate_leases import CallerRates
from api.identity.tenants import Tenants
from api.monitoring.failures import FailureCount
from api.monitoring.health_checks import HealthChecks
from api.pricing import Prices
from api.webhooks.deliveries import DeliveryCount
from api.webhooks.inbox import Inbox, Notifier
from api.webhooks.paypal_signatures import PayPalSignatures
from billing.core.batcher import Turns
from billing.core.database import Database
from billing.core.errors import Unavailable
from billing.core.settings import Settings
from billing.core.tracing import Tracing
from billing.matters.schemas import of_account
from billing.money.documents.press import Press
from billing.money.payments.pay_links import PayLinks
from billing.platform.parking.service import Barrier
from billing.platform.processes.agreement import agreed
from billing.platform.processes.service import Pulse


@dataclass(slots=True)
class Services:
    """The services of one API process, kept in `app.state.services`."""

    settings: Settings
    database: Database
    verifier: Verifier
    tenants: Tenants
    rates: CallerRates
    inbox: Inbox
    hold_batcher: HoldBatcher
    prices: Prices
    balances: Balances
    press: Press
    pay_links: PayLinks
    paypal: PayPalSignatures
    jwks: Jwks | None = None
    health: HealthChecks = field(default_factory=HealthChecks)
    notifier: Notifier = field(default_factory=Notifier)
    temporal_client: Client | None = None
    tracing: Tracing | None = None
    deliveries: DeliveryCount = field(default_factory=DeliveryCount)
    failures: FailureCount = field(default_factory=FailureCount)
    timeline_turns: Turns = field(default_factory=lambda: Turns(1))
    """Timelines are projected one at a time: each keeps a processor busy."""
    report_turns: AccountTurns = field(default_factory=lambda: AccountTurns("reports", OF_ALL))
    filter_turns: AccountTurns = field(default_factory=lambda: AccountTurns("reads of single uses"))
    """Lists of uses by what no index knows may read all uses of an account."""
    trial_turns: AccountTurns = field(default_factory=lambda: AccountTurns("dry runs of uses"))
    preview_turns: AccountTurns = field(default_factory=lambda: AccountTurns("previews"))
    """Each decides what the real request would, and keeps a processor busy with it."""
    usage_batcher: UsageBatcher = field(init=False)
    pulse: Pulse = field(init=False)
    barrier: Barrier = field(init=False)

    def __post_init__(self) -> None:
        self.usage_batcher = UsageBatcher(self.database, self.wake)
        self.pulse = Pulse(
            self.database,
            "api",
            self.deliveries.counts,
            failures=self.failures.counts,
            agreed=agreed(self.settings),
            clock_tolerance=timedelta(seconds=self.settings.clock_tolerance_seconds),
        )
        self.barrier = Barrier(self.database)

    def wake(self, accounts: Iterable[UUID]) -> None:
        """Notify the matters of accounts that their rows changed, without waiting."""
        for account_id in accounts:
            self.notifier.queue(self.temporal, of_account(account_id))

    @property
    def temporal(self) -> Client:
        """The Temporal client; it connects on its first call."""
        if self.temporal_client is None:
            raise Unavailable("TEMPORAL_UNAVAILABLE")
        return self.temporal_client

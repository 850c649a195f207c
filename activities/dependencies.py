"""The connections and settings of every activity class, and the account's current time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity

from billing.core.clock import now_by
from billing.core.database import Database
from billing.core.settings import Settings
from billing.matters.agenda import State
from gateways.provider import OrderProvider, PaymentProvider, TaxProvider, VatRegister


@dataclass(frozen=True)
class Dependencies:
    """The connections and settings that every activity class is built with."""

    database: Database
    provider: PaymentProvider
    settings: Settings
    register: VatRegister | None = None
    orders: OrderProvider | None = None
    taxes: TaxProvider | None = None


def measure_lateness(step: str, late: timedelta) -> None:
    """Record how late a step was done, as a worker metric by step; for real time only."""
    meter = activity.metric_meter().with_additional_attributes({"step": step})
    meter.create_histogram_timedelta(
        "billing_step_lateness", "How long after its time a step was done"
    ).record(late)


def now_of(state: State) -> datetime:
    """Return the account's now: its frozen clock, else real time."""
    return now_by(state.clock_at)

"""The connections that every class of activities is built with, and the time by which they act."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity

from billing.core.clock import real_now
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
    """Timer accuracy, as a metric of the worker: by step, in real time alone."""
    meter = activity.metric_meter().with_additional_attributes({"step": step})
    meter.create_histogram_timedelta(
        "billing_step_lateness", "How long after its time a step was done"
    ).record(late)


def now_of(state: State) -> datetime:
    """The account's now: its frozen clock, else real time."""
    return state.clock_at or real_now()

"""The connections and settings of every activity class."""

from dataclasses import dataclass

from billing.core.database import Database
from billing.core.settings import Settings
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

"""A kind of payment method as it is offered."""

from typing import Literal

from pydantic import Field

from billing.core.frozen import Frozen

MethodKind = Literal["card", "bank_transfer", "other"]
Provider = Literal["stripe", "manual", "paypal"]


class PaymentKind(Frozen):
    """A kind [K14], who provides it, and where it is offered; empty means everywhere."""

    key: str = Field(description="Its name in the catalog")
    kind: MethodKind = Field(description="What it is")
    provider: Provider = Field(
        "stripe",
        description="What handles it: `stripe`, `paypal`, or `manual` for money from outside",
    )
    countries: tuple[str, ...] = Field(
        (), description="The countries in which it is offered, ISO 3166-1; empty: all"
    )
    currencies: tuple[str, ...] = Field(
        (), description="The currencies in which it is offered, ISO 4217; empty: all"
    )
    position: int = Field(0, description="Its place in lists")
    is_active: bool = Field(True, description="False: it is not offered")

    def is_offered(self, country: str | None, currency: str) -> bool:
        """True if it can be used there in this currency; an unknown country matches all."""
        here = not self.countries or country is None or country in self.countries
        return self.is_active and here and (not self.currencies or currency in self.currencies)

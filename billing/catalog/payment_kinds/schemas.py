"""A kind of payment method as it is offered."""

from typing import Literal

from billing.core.frozen import Frozen

MethodKind = Literal["card", "bank_transfer", "other"]
Provider = Literal["stripe", "manual", "paypal"]


class PaymentKind(Frozen):
    """A kind [K14], who provides it, and where it is offered; empty means everywhere."""

    key: str
    kind: MethodKind
    provider: Provider = "stripe"
    countries: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    position: int = 0
    is_active: bool = True

    def is_offered(self, country: str | None, currency: str) -> bool:
        """True if it can be used there in this currency; an unknown country matches all."""
        here = not self.countries or country is None or country in self.countries
        return self.is_active and here and (not self.currencies or currency in self.currencies)

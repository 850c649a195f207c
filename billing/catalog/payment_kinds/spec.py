"""The section `payment_methods` of the catalog, as people write it."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StrictBool

from billing.catalog.payment_kinds.schemas import MethodKind, Provider
from billing.core import countries as iso
from billing.core.currencies import KnownCurrency


class PaymentKindSpec(BaseModel):
    """A kind of payment method, who provides it, and where; empty means everywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: MethodKind
    """A card, a transfer that an operator records, or another method of the provider."""
    provider: Provider = "stripe"
    """The payment provider; `manual`: an operator records the payment."""
    countries: tuple[Annotated[str, AfterValidator(iso.known)], ...] = ()
    """Countries of customers, by ISO 3166-1; empty: everywhere."""
    currencies: tuple[KnownCurrency, ...] = ()
    """Currencies, by ISO 4217; empty: all."""
    is_active: StrictBool = True
    """False: not offered."""

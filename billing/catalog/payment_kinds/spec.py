"""The section `payment_methods` of the catalog, as people write it."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from billing.catalog.payment_kinds.schemas import Kind, Provider
from billing.core import countries as iso
from billing.core.currencies import is_known


def _currency(code: str) -> str:
    if not is_known(code):
        raise ValueError(f"{code} is no currency")
    return code


class PaymentKindSpec(BaseModel):
    """A kind of payment method, who provides it, and where; empty means everywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    provider: Provider = "stripe"
    countries: tuple[Annotated[str, AfterValidator(iso.known)], ...] = ()
    currencies: tuple[Annotated[str, AfterValidator(_currency)], ...] = ()
    is_active: bool = True

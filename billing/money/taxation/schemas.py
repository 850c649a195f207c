"""An account's standing with the tax office."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen

VatStatus = Literal["pending", "valid", "unknown"]


class TaxProfile(Frozen):
    """A row of `tax_profiles`; an account without one has neither VAT id nor exemption."""

    account_id: UUID
    exempt_because: str | None = None
    vat_id: str | None = None
    vat_given_at: AwareDatetime | None = None
    vat_status: VatStatus | None = None
    vat_name: str | None = None
    """The business as its register has it."""
    vat_proof: str | None = None
    vat_decided_at: AwareDatetime | None = None
    vat_tries: int = 0
    vat_check_at: AwareDatetime | None = None
    vat_credit_at: AwareDatetime | None = None
    vat_turn: int = 0
    """A count of what was asked of the steps about it."""


class VatAnswer(Frozen):
    """The word of a VAT register; `is_valid` is None when it could not be asked."""

    is_valid: bool | None
    name: str | None = None
    proof: str | None = None


class TaxQuestion(Frozen):
    """An address and the goods that a tax provider is asked for."""

    digest: str
    """Of the address, as its answer is kept by."""
    country: str
    state: str | None = None
    postal_code: str | None = None
    city: str | None = None
    line1: str | None = None
    currency: str
    codes: dict[str, str]
    """The provider's codes by category of goods."""

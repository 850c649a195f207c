"""An account's tax status."""

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
    """The name of the business in its register."""
    vat_proof: str | None = None
    vat_decided_at: AwareDatetime | None = None
    vat_tries: int = 0
    vat_check_at: AwareDatetime | None = None
    vat_credit_at: AwareDatetime | None = None
    vat_turn: int = 0
    """A counter in the keys of the VAT id's steps, raised by each request."""


class VatAnswer(Frozen):
    """The answer of a VAT register; `is_valid` is None if it could not be reached."""

    is_valid: bool | None
    name: str | None = None
    proof: str | None = None


class TaxQuestion(Frozen):
    """A query to the tax provider: an address and the categories of goods."""

    digest: str
    """Digest of the address, under which the answer is stored."""
    country: str
    state: str | None = None
    postal_code: str | None = None
    city: str | None = None
    line1: str | None = None
    currency: str
    codes: dict[str, str]
    """The provider's codes by category of goods."""

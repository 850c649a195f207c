"""Credits that plans without a price have granted, as decisions read them."""

from datetime import date
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime

from billing.core import ids, keys
from billing.core.frozen import Frozen

_DAY_LENGTH: Final = len("2027-01-01")


class FreeGrant(Frozen):
    """Credits that a plan without a price has granted to the account."""

    grant_key: str
    amount: Decimal
    """Less what was clawed back."""
    at: AwareDatetime
    """If a change granted it, the start of its cycle."""

    @property
    def day(self) -> date | None:
        """The first day of the span that a cycle's grant is for; None: a change granted it."""
        if not self.grant_key.startswith(f"{ids.ACCOUNT}_"):
            return None
        return date.fromisoformat(self.grant_key.removesuffix(keys.NOT_KEPT)[-_DAY_LENGTH:])

"""Records of the parts of a cycle that cost nothing, as a change of plan writes them."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime, Field

from billing.core import ids, keys
from billing.core.frozen import Frozen

_DAY_LENGTH: Final = len("2027-01-01")


class FreeGrant(Frozen):
    """Credits that a plan without a price has granted to the account."""

    grant_key: str
    amount: Decimal
    """Less what was clawed back."""
    at: AwareDatetime

    @property
    def day(self) -> date | None:
        """The first day of the span that a cycle's grant is for; None: a change granted it."""
        if not self.grant_key.startswith(f"{ids.ACCOUNT}_"):
            return None
        return date.fromisoformat(self.grant_key.removesuffix(keys.NOT_KEPT)[-_DAY_LENGTH:])


class Given(Frozen):
    """The amount of one thing that was given for nothing."""

    ahead: Decimal = Decimal(0)
    """The part beyond that which the plan now gives for the rest of the cycle."""
    anew: Decimal = Decimal(0)
    """The part that the change gives: use until the change applies counts against it."""

    def more(self, given: Decimal, kept: Decimal, *, is_free: bool) -> "Given":
        """Return it after a change that gives so much for the rest of the cycle, where so much was
        `kept` for nothing, because it counts as used. What is free brings only what is not there.
        """
        ahead = self.ahead + kept
        anew = max(Decimal(0), given - ahead) if is_free else Decimal(0)
        return Given(ahead=max(Decimal(0), ahead - given) if is_free else ahead, anew=anew)

    def keep(self, kept: Decimal) -> "Given":
        """Return it where more is kept for nothing until the change applies."""
        counts = min(kept, self.anew)
        return Given(ahead=self.ahead + kept - counts, anew=self.anew - counts)


class FreeParts(Frozen):
    """All that parts of a cycle that cost nothing have given, after a change of plan."""

    was_free: bool = False
    """True if the plan of before costs nothing."""
    is_free: bool = False
    """True if the new one costs nothing for the rest of the period."""
    credits: Given = Given()
    units: dict[str, Given] = Field(default_factory=dict)
    """By meter."""
    until: AwareDatetime | None = None
    """The end of the cycle; None: nothing is recorded."""

    def keep(self, kept: Decimal, units: Mapping[str, Decimal]) -> "FreeParts":
        """Return them where so many credits and units of the old plan are kept until the change
        applies, because they count as used.
        """
        if not self.was_free:
            return self
        more = {meter: self.units.get(meter, Given()).keep(n) for meter, n in units.items()}
        after = {"credits": self.credits.keep(kept), "units": self.units | more}
        return self.model_copy(update=after)

    def lost(self, after: "FreeParts") -> tuple[Decimal, dict[str, Decimal]]:
        """Return the credits and units that the change does not give any more `after` that."""
        units = {meter: one.anew - after.units[meter].anew for meter, one in self.units.items()}
        return self.credits.anew - after.credits.anew, units

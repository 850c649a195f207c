"""The form of VAT ids, and when to query their register and the tax provider again. Pure."""

from datetime import datetime, timedelta
from typing import Final

from stdnum.eu import vat
from stdnum.exceptions import ValidationError

from billing.core.errors import Invalid

HOURLY: Final = 24
"""Tries in a row that come hourly; after as many nobody has answered for a day."""
_DAILY: Final = 30


def written(number: str) -> str:
    """Return an EU VAT id as registers write it: DE136695976. Errors: INVALID_TAX_ID."""
    try:
        known = str(vat.validate(number))
    except ValidationError as wrong:
        raise Invalid("INVALID_TAX_ID") from wrong
    # Registers know Greece by its own letters, its citizens by those of its country as well.
    return f"EL{known[2:]}" if known.startswith("GR") else known


def next_check(at: datetime, tries: int) -> datetime | None:
    """Return the next try after a failed one: hourly for a day, daily for a month, then None."""
    if tries < HOURLY:
        return at + timedelta(hours=1)
    return at + timedelta(days=1) if tries < HOURLY + _DAILY else None


def without_register(at: datetime) -> datetime:
    """Return the next look whether there is a register now; nobody was asked, so it is no try."""
    return at + timedelta(days=1)


def next_quote(at: datetime, tries: int) -> datetime:
    """Return the next query: in a day after an answer (`tries` is 0), else hourly for a day, then
    daily.
    """
    return at + (timedelta(hours=1) if 0 < tries < HOURLY else timedelta(days=1))

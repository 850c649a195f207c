"""The form of VAT ids, and when to query their register and the tax provider again. Pure."""

from datetime import datetime, timedelta
from typing import Final

from stdnum.eu import vat
from stdnum.exceptions import ValidationError

from billing.core.errors import Invalid

HOURLY: Final = 25
"""Tries in a row until nobody has answered for a day: the second comes soon, the others hourly."""
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
    """Return the next try after a failed one: soon, hourly for a day, daily for a month; then
    None.
    """
    return at + _pause(tries) if tries < HOURLY + _DAILY else None


def without_register(at: datetime) -> datetime:
    """Return the next look whether there is a register now; nobody was asked, so it is no try."""
    return at + timedelta(days=1)


def next_quote(at: datetime, tries: int) -> datetime:
    """Return the next query: in a day after an answer (`tries` is 0), else soon, hourly for a day,
    then daily.
    """
    return at + (_pause(tries) if tries else timedelta(days=1))


def _pause(tries: int) -> timedelta:
    """Return the pause after that many failed tries. The first may have asked nobody, because the
    service was left alone for half a minute.
    """
    if tries == 1:
        return timedelta(minutes=1)
    return timedelta(hours=1) if tries < HOURLY else timedelta(days=1)

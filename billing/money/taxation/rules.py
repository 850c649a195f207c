"""VAT ids as they are written; when their register and the tax provider are asked again. Pure."""

from datetime import datetime, timedelta
from typing import Final

from stdnum.eu import vat
from stdnum.exceptions import ValidationError

from billing.core.errors import Invalid

_HOURLY: Final = 24
_DAILY: Final = 30


def written(number: str) -> str:
    """A VAT id of an EU country as registers know it: DE136695976. Errors: INVALID_TAX_ID."""
    try:
        return str(vat.validate(number))
    except ValidationError as wrong:
        raise Invalid(
            "INVALID_TAX_ID", "this is no VAT id of a country of the EU: its check digits are wrong"
        ) from wrong


def next_check(at: datetime, tries: int) -> datetime | None:
    """After a question that was not answered: hourly for a day, daily for a month, then never."""
    if tries < _HOURLY:
        return at + timedelta(hours=1)
    return at + timedelta(days=1) if tries < _HOURLY + _DAILY else None


def next_quote(at: datetime, tries: int) -> datetime:
    """After an answer (`tries` is 0) a day later; else hourly for a day, and daily then."""
    return at + (timedelta(hours=1) if 0 < tries < _HOURLY else timedelta(days=1))

"""Pure rules of top-ups: when the next one may be tried, and what may be bought."""

from datetime import datetime, timedelta
from typing import Final, Literal

TopUpStatus = Literal["wanted", "buying", "completed", "failed", "capped", "dropped"]

# After a failure wait, then try again; at the third stop buying.
RETRY_AFTER: Final = (timedelta(hours=1), timedelta(hours=24))
MAX_FAILURES: Final = len(RETRY_AFTER) + 1


def retry_at(failures: int, at: datetime) -> datetime | None:
    """Return the next try after this many failures in a row; None: no more tries."""
    return at + RETRY_AFTER[failures - 1] if failures < MAX_FAILURES else None


def fits(spent_minor: int, total_minor: int, cap_minor: int | None) -> bool:
    """True if one more pack, with the tax added to it, is within the month's cap."""
    return cap_minor is None or spent_minor + total_minor <= cap_minor

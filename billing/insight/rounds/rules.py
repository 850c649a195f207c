"""The constants by which accounts are marked to be checked."""

from datetime import timedelta
from typing import Final

MARGIN: Final = timedelta(minutes=10)
"""Rows written this long before the last run's marks may have been committed after them."""
AT_LEAST: Final = 100
"""The minimum of accounts marked in rotation, if a slice is smaller."""
SLICES: Final = 7 * 24
"""An hourly run marks one slice of this many, so that every account is checked within a week."""

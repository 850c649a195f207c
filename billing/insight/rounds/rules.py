"""Figures by which accounts are noted to be looked at."""

from datetime import timedelta
from typing import Final

MARGIN: Final = timedelta(minutes=10)
"""Rows written so long before the last notes may have been committed after them."""
AT_LEAST: Final = 100
"""So many accounts are noted in turn, where a part is smaller."""
SLICES: Final = 7 * 24
"""An hourly run notes one part of this many, so that everybody is looked at within a week."""

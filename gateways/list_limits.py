"""The limits of Stripe's lists."""

from typing import Final

PAGE: Final = 100
"""Objects per answer."""
TYPES_AT_ONCE: Final = 20
"""Types of events per request."""

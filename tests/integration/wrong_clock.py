"""A process whose clock is wrong: the database and Temporal have the right time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from billing.core import clock


@contextmanager
def wrong_clock(ahead: timedelta) -> Iterator[None]:
    """Set this process's clock ahead, or behind, for all that the product asks of it."""
    wrong = SimpleNamespace(now=lambda zone: datetime.now(zone) + ahead)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clock, "datetime", wrong)
        yield

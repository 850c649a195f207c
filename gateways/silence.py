"""A service that hangs is left alone for a while, so that steps do not wait for it in vain: while
one waits, it keeps one of the few slots that purchases need, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

HANGS_SECONDS: Final = 4.0
PAUSE_SECONDS: Final = 30.0


class Silence:
    """One per service in each process. After a silence one call tries the service again, and the
    others keep silent until it has ended.
    """

    def __init__(self, time: Callable[[], float] = monotonic) -> None:
        self._time = time
        self._hangs = False
        self._until = 0.0

    def is_kept(self) -> bool:
        """Return whether to ask nothing now."""
        now = self._time()
        if self._hangs and now < self._until:
            return True
        self._until = now + PAUSE_SECONDS
        return False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Surround a call: a long one begins a silence, a short one ends it, however they end."""
        began = self._time()
        try:
            yield
        finally:
            now = self._time()
            self._hangs = now - began >= HANGS_SECONDS
            self._until = now + PAUSE_SECONDS

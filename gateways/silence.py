"""A service that gave no answer is left alone for a while, so that a step does not wait for it in
vain: while it waits, it keeps one of the few slots that purchases need, too.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

PAUSE_SECONDS: Final = 30.0


class Silence:
    """One per service in each process. After a silence one call tries the service again, and the
    others keep silent until it has ended.
    """

    def __init__(self, time: Callable[[], float] = monotonic) -> None:
        self._time = time
        self._is_away = False
        self._until = 0.0

    def may_ask(self) -> bool:
        """Return whether to ask now; whoever does says afterwards whether it was answered."""
        now = self._time()
        if self._is_away and now < self._until:
            return False
        self._until = now + PAUSE_SECONDS
        return True

    def heard(self, *, answered: bool) -> None:
        """Begin a silence, or end it."""
        self._is_away = not answered
        self._until = self._time() + PAUSE_SECONDS

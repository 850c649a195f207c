"""The number of a step's try, counting from the local activity's."""

from contextvars import ContextVar
from typing import Final

from temporalio import activity

SAME_KEY_TRIES: Final = 3
"""The provider may have stored a 500 under a key; after these tries only the lookup decides."""
_before: Final = ContextVar("before", default=0)


def begin(before: int) -> None:
    """Record how often this activity's step was tried before, as a local activity."""
    _before.set(before)


def tries() -> int:
    """Return the number of this try, from 1.

    A local activity's try is not counted if its worker dies: code that must not act twice has to
    check its row or the provider, whatever the number.
    """
    return _before.get() + activity.info().attempt


def harmless_key(key: str) -> str:
    """Return the key of a call that takes no money: a new key gets past a stored 500."""
    number = tries()
    return key if number <= SAME_KEY_TRIES else f"{key}/again-{number}"

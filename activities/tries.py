"""Tries of a step and of its calls of the provider."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from temporalio import activity

from billing.core import ids
from billing.core.errors import ProviderFailure, Unavailable
from gateways.provider import KEY_REFUSED, KEY_REUSED, NO_CUSTOMER

SAME_KEY_TRIES: Final = 3
"""The provider may have stored a 500 under a key; after these tries only the lookup decides."""
T = TypeVar("T")
_before: Final = ContextVar("before", default=0)


def begin(before: int) -> None:
    """Record how often this activity's step was tried before."""
    _before.set(before)


def tries() -> int:
    """Return the number of this try, from 1.

    A local activity's try is not counted if its worker dies: code that must not act twice has to
    check its row or the provider, whatever the number.
    """
    return _before.get() + activity.info().attempt


async def with_new_keys(key: str, call: Callable[[str], Awaitable[T]]) -> T:
    """Make a call that takes no money; a later try has a new key, to get past a stored answer.

    A stored refusal may be outdated, and proves that nothing was made: the call is made again at
    once.
    """
    number = tries()
    try:
        return await call(key if number <= SAME_KEY_TRIES else f"{key}/again-{number}")
    except ProviderFailure as refused:
        if not refused.is_repeated:
            raise
        return await call(f"{key}/again-{ids.new().hex}")


@contextmanager
def doubting_a_key() -> Iterator[None]:
    """Treat a key that was used with other parameters as doubt: the first call may still run.

    Parameters differ if the payment moved to another matter, which the metadata names, or if a new
    release confirms differently. The next try looks for the first call's result; a call
    `with_new_keys` takes another key after SAME_KEY_TRIES.
    """
    try:
        yield
    except ProviderFailure as refused:
        if refused.code != KEY_REUSED:
            raise
        raise Unavailable(refused.code, refused.detail) from refused


@contextmanager
def doubting_a_look() -> Iterator[None]:
    """Treat a read that the provider refuses as doubt: it proves nothing of what was done before.

    The key may be that of another account or mode, which knows none of our objects. That a customer
    is gone is an answer: `Customers` asks whether he was deleted.
    """
    try:
        yield
    except ProviderFailure as refused:
        if refused.code == NO_CUSTOMER:
            raise
        raise Unavailable(KEY_REFUSED, refused.detail) from refused

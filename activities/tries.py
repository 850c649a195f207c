"""The number of a step's try, counted from the one within the workflow's own task."""

from contextvars import ContextVar
from typing import Final

from temporalio import activity

_before: Final = ContextVar("before", default=0)


def begin(before: int) -> None:
    """This activity's step was tried so often before, within the workflow's own task."""
    _before.set(before)


def tries() -> int:
    """The number of this try: 1 is the first that the workflow asked for.

    A worker that dies within the workflow's own task has its try counted by nobody: what must not
    be done twice asks its row or the provider, whatever the number.
    """
    return _before.get() + activity.info().attempt

"""Finds the servers for a command: those of the environment, else of a stack on this machine.

A production installation has no `devstack`: there the environment names them.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from billing.core.secret_files import SUFFIX
from cli.errors import StackError
from cli.project import HAS_STACK

if TYPE_CHECKING:
    from devstack.stack import StackInfo

_NAMED: Final = ("DATABASE_URL", f"DATABASE_URL{SUFFIX}")
"""Either of them in the environment names the servers; an empty one says nothing."""


def running_stack(data: Path) -> "StackInfo":
    """Return the stack that runs on this folder. Errors: StackError when none is ready."""
    if not HAS_STACK:
        raise StackError("name the servers: set DATABASE_URL and the other settings")
    from devstack.stack import read_stack

    return read_stack(data)


def use_stack(data: Path) -> bool:
    """Use the stack of a folder if the environment names no servers; return True if used."""
    if any(map(os.environ.get, _NAMED)):
        return False
    try:
        _adopt(running_stack(data))
    except StackError:
        return False
    return True


def use_database(data: Path) -> None:
    """Use the database of a folder's stack, unless the environment names one.

    Errors: StackError if there is neither: no other database is ever used instead.
    """
    find_stack(data)


def find_stack(data: Path) -> "StackInfo | None":
    """Use and return the folder's stack; None if the environment names the servers instead.

    Errors: StackError if there is neither.
    """
    if any(map(os.environ.get, _NAMED)):
        return None
    stack = running_stack(data)
    _adopt(stack)
    return stack


def _adopt(stack: "StackInfo") -> None:
    for name, value in stack.env.items():
        os.environ[name] = os.environ.get(name) or value

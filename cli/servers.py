"""Finds the servers for a command: those of its settings, else of a stack on this machine.

A production installation has no `devstack`: there the settings name them.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

from billing.core.secret_files import SUFFIX
from cli.errors import StackError
from cli.project import HAS_STACK, data_folder

if TYPE_CHECKING:
    from devstack.stack import StackInfo

_NAMED: Final = ("DATABASE_URL", f"DATABASE_URL{SUFFIX}")
"""Either of them names the servers; an empty one says nothing."""


def servers_named(data: Path | None) -> bool:
    """Return True if the environment names the servers, or `.env`, as for API and worker.

    What is said goes before what is written: `.env` counts only where no folder was named.
    """
    written = {} if data else dotenv_values(".env")
    return any(os.environ.get(name) or written.get(name) for name in _NAMED)


def running_stack(data: Path | None) -> "StackInfo":
    """Return the stack that runs on this folder. Errors: StackError when none is ready."""
    if not HAS_STACK:
        raise StackError("name the servers: set DATABASE_URL and the other settings")
    from devstack.stack import read_stack

    return read_stack(data_folder(data))


def use_stack(data: Path | None) -> bool:
    """Use the stack of a folder if no setting names servers; return True if used.

    Errors: StackError if the folder was named and has none.
    """
    try:
        return use_database(data) is not None
    except StackError:
        if data:
            raise
        return False


def use_database(data: Path | None) -> "StackInfo | None":
    """Use the database of a folder's stack and return the stack; None if a setting names one.

    Errors: StackError if there is neither: no other database is ever used instead.
    """
    if servers_named(data):
        return None
    stack = running_stack(data)
    for name, value in stack.env.items():
        os.environ[name] = os.environ.get(name) or value
    return stack

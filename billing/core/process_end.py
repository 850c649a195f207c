"""End of a program that was a client of Temporal: at once, with its exit code.

The SDK's threads may still come back into Python while the interpreter takes itself apart; it then
aborts with "PyGILState_Release: thread state must be current", after all work was done
(temporalio/sdk-python#300). Everything of ours is closed before; files are flushed here.
"""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run_and_end(program: Callable[[], object]) -> NoReturn:
    """Run it and leave with what it exits with: 0, its code, or 1 and its message."""
    try:
        program()
        code: object = None
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)

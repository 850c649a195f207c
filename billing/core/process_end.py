"""Immediate exit, with its exit code, of a program that was a client of Temporal.

The SDK's threads may re-enter Python while the interpreter shuts down; it then aborts with
"PyGILState_Release: thread state must be current", after all work was done
(temporalio/sdk-python#300). Our own resources are closed before; standard output is flushed here.
"""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run_and_end(program: Callable[[], object]) -> NoReturn:
    """Run the program and exit with 0, with its code, or with 1 and its message."""
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

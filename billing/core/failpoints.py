"""Named places where a test may kill or pause the process; inactive outside the test profile.

A file `<name>` in the folder BILLING_FAILPOINTS arms a point by `kill`, `pause` or `late` in it.
A point is hit once: the file is renamed to `<name>.hit`, and a paused process continues when that
file is deleted; with `late` it does so even if it was cancelled meanwhile.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

from billing.core.profile import TEST_PROFILE

_FOLDER: Final = os.environ.get("BILLING_FAILPOINTS") if TEST_PROFILE else None
_PAUSE_POLL_SECONDS: Final = 0.02


async def failpoint(name: str) -> None:
    """Pass, unless a test armed this place."""
    if _FOLDER is None:
        return
    armed = Path(_FOLDER) / name
    hit = armed.with_suffix(armed.suffix + ".hit")
    try:
        action = armed.read_text().strip()
        armed.rename(hit)
    except FileNotFoundError:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while hit.exists():
        try:
            await asyncio.sleep(_PAUSE_POLL_SECONDS)
        except asyncio.CancelledError:
            if action != "late":
                raise

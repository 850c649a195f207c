"""The collector's settings in a process that serves for long."""

import gc
from typing import Final

COLLECT_AFTER: Final = 20_000


def settle() -> None:
    """Freeze what the start has made: full collections cost a quarter of the CPU under load.

    Requests and steps leave few reference cycles, so collections also run less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)

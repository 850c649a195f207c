"""Random examples of properties: the same ones in each gate, others and more when searched for.

`SEARCH=20 make test ARGS="tests/unit/reversals"` tries twenty times as many, drawn anew.
"""

import os
from typing import Final

from hypothesis import settings

_TIMES: Final = int(os.environ.get("SEARCH", "0"))


def begin() -> None:
    """Have Hypothesis draw as this run wants; to be called before tests are read."""
    settings.register_profile("gate", derandomize=True, deadline=None, print_blob=True)
    settings.register_profile("search", max_examples=examples(100), deadline=None)
    settings.load_profile("search" if _TIMES else "gate")


def examples(count: int) -> int:
    """As many, or as many times as many as `SEARCH` says."""
    return count * max(1, _TIMES)

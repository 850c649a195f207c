"""The golden cases that a stack is asked: some in the gate, with WHOLE=1 all that fit."""

import os
from collections.abc import Callable
from typing import Any

from tests.unit.golden.cases import cases


def drawn(
    file: str, kinds: tuple[str, ...], fits: Callable[[Any], bool], stride: int
) -> list[tuple[str, Any, Any]]:
    """The id, the input and the result of each; every `stride`th unless all are wanted."""
    found = [
        (str(one.id), *one.values)
        for kind in kinds
        for one in cases(file, kind)
        if not one.marks and fits(one.values[0])
    ]
    return found[:: 1 if os.environ.get("WHOLE") else stride]

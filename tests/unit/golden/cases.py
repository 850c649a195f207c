"""The golden cases of tests/golden, by kind; those of terms that are not sold here are skipped."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

FOLDER: Final = Path(__file__).resolve().parents[2] / "golden"


def cases(file: str, kind: str) -> list[Any]:
    """The parameters of a test: the input of each case, and what must come out here."""
    found = [
        one for one in json.loads((FOLDER / f"{file}.json").read_text()) if one["kind"] == kind
    ]
    return [
        pytest.param(
            one["input"],
            one.get("here", one["expected"]),
            id=one["id"],
            marks=[pytest.mark.skip(one["rule"])] if one.get("peer_only") else [],
        )
        for one in found
    ]

"""A process takes as many connections as its system allows, and notices when there is no room."""

import subprocess
import sys
from typing import Final

import pytest

_PROGRAM: Final = """
import os, resource
from billing.core import open_files

resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
open_files.allow_many()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], open_files.has_room())
if {hard} < 1_000:
    kept = []
    while open_files.has_room():
        kept.append(os.open(os.devnull, os.O_RDONLY))
    print(len(kept) > 100)
    os.close(kept.pop())
    print(open_files.has_room())
"""


@pytest.mark.parametrize(
    ("soft", "hard", "told"),
    [
        (128, 256, "256 True\nTrue\nTrue\n"),
        (1_024, 4_096, "4096 True\n"),
    ],
)
def test_a_process_allows_itself_what_it_may_and_sees_when_that_is_used_up(
    soft: int, hard: int, told: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(soft=soft, hard=hard)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.stdout == told, run.stderr
    assert f"at most {hard} connections and files" in run.stderr

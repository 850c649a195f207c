"""A program ends with its own code and its last words, whatever threads it leaves."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading, time
from billing.core.process_end import run_and_end

def program():
    threading.Thread(target=time.sleep, args=(60,)).start()  # the interpreter would wait for it
    sys.stdout.write("done")
    sys.exit({code})

run_and_end(program)
"""


@pytest.mark.parametrize(
    ("code", "ended", "told"), [("0", 0, ""), ("None", 0, ""), ("3", 3, ""), ("'off'", 1, "off\n")]
)
def test_it_leaves_at_once_with_what_it_exits_with(code: str, ended: int, told: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(code=code)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (ended, "done", told)

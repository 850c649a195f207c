"""The whole gate in three processes at once, for tests wait more than they work (`make test`).

One runs what uses a stack that is shared; one what kills programs and waits for what they had
leased; one what starts programs of its own, and enough besides to end with the first. All are plain
pytest. What the others say comes after the first, and the last line sums all up.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from typing import IO, Final

from devstack.options import ROOT

KILLING: Final = (
    "tests/integration/faults",
    "tests/integration/upgrade",
    "tests/integration/stack/test_stack_refuses.py",
    "tests/integration/stack/test_stack_survives.py",
)
STARTING: Final = (
    "tests/integration/rebuild",
    "tests/integration/packaging/test_client_wheel.py",
    "tests/integration/sandbox",
    "tests/unit",
    "clients/python/tests",
    "tests/integration/credits",
    "tests/integration/timeline",
    "tests/integration/walk",
    "tests/integration/payments",
    "tests/integration/arrears",
)
BESIDE: Final = (KILLING, STARTING)
"""The lanes beside the first, which runs all other tests."""
_COUNT: Final = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|deselected|warnings?)\b")
_SUMMARY: Final = re.compile(r"^=*\s*(\d+ \w+.*) in [\d.]+s")


def lane(arguments: list[str], output: IO[str] | int) -> subprocess.Popen[str]:
    """One pytest on a part of the tests."""
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=output, text=True)


def shown_live(process: subprocess.Popen[str]) -> str:
    """Everything it says, line by line as it comes."""
    said = []
    for line in process.stdout or ():
        sys.stdout.write(line)
        sys.stdout.flush()
        said.append(line)
    return "".join(said)


def counts(said: str) -> Counter[str]:
    """Counts in the last line of a pytest run."""
    last = next((line for line in reversed(said.splitlines()) if _SUMMARY.match(line)), "")
    return Counter({word.rstrip("s"): int(number) for number, word in _COUNT.findall(last)})


def main() -> int:
    """Run all lanes; 0 when all are green."""
    begun = time.monotonic()
    with ExitStack() as stack:
        words = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in BESIDE]
        beside = []
        for paths, output in zip(BESIDE, words, strict=True):
            beside.append(lane(list(paths), output))
            stack.callback(beside[-1].terminate)  # nothing to end, unless this was interrupted
        taken = [path for paths in BESIDE for path in paths]
        first = lane([f"--ignore={path}" for path in taken], subprocess.PIPE)
        said = [shown_live(first)]
        codes = [first.wait(), *(one.wait() for one in beside)]
        for output in words:
            output.seek(0)
            said.append(output.read())
    sys.stdout.write("".join(said[1:]))
    total = sum((counts(one) for one in said), Counter[str]())
    summed = ", ".join(f"{number} {word}" for word, number in sorted(total.items()))
    sys.stdout.write(f"=== {summed} in {time.monotonic() - begun:.2f}s ===\n")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())

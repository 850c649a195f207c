"""Workflow code decides by its input alone: a replay at another time, elsewhere, decides the same.

Workflows run without the SDK's sandbox, whose restrictions hold neither for modules imported at the
head of a file nor for the domain. So nothing that workflow code calls by name may ask the clock,
chance, the machine or the network.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from devstack.options import ROOT

START: Final = "workflows.registry"
OUTSIDE: Final = re.compile(
    r"^(open|print|input|hash|id|set_event_loop"
    r"|(random|secrets|time|os|sys|socket|subprocess|threading|shutil|tempfile|logging)\..+"
    r"|(uuid\.)?uuid[1467]|ids\.new|(clock\.)?real_now|(datetime|date)\.(now|utcnow|today)"
    r"|asyncio\.(to_thread|run|get_event_loop|new_event_loop|open_connection)"
    r"|(Path|pathlib)\b.*)$"
)
ALLOWED: Final = {
    ("workflows/policies.py", "os.environ.get"): "read at the start: the test profile's timings",
}


def calls(source: str) -> Iterator[str]:
    """Yield the names that a module calls, such as `datetime.now`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func)


def imported(source: str) -> Iterator[str]:
    """Yield the workflow modules that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workflows"):
            module = str(node.module)
            yield from (module, *(f"{module}.{one.name}" for one in node.names))


def workflow_files() -> set[Path]:
    """Return the files of the package that the workflows are made of."""
    found: set[Path] = set()
    waiting = [START]
    while waiting:
        file = ROOT.joinpath(*waiting.pop().split(".")).with_suffix(".py")
        if file.is_file() and file not in found:
            found.add(file)
            waiting += imported(file.read_text())
    return found


def test_workflows_ask_nobody_but_temporal() -> None:
    names = {file.relative_to(ROOT).as_posix() for file in workflow_files()}
    assert {"workflows/matter.py", "workflows/subscription.py", "workflows/clock.py"} <= names
    asked = {
        (file.relative_to(ROOT).as_posix(), call)
        for file in workflow_files()
        for call in calls(file.read_text())
        if OUTSIDE.match(call)
    }
    assert asked - ALLOWED.keys() == set()
    assert ALLOWED.keys() <= asked, "an exception that nothing needs any more"


@pytest.mark.parametrize(
    "line",
    ["datetime.now(UTC)", "random.random()", "uuid4()", "ids.new()", "real_now()", "open('x')",
     "time.monotonic()", "secrets.token_hex(8)", "asyncio.to_thread(f)", "Path('x').read_text()"],
)  # fmt: skip
def test_a_call_of_the_outside_is_found(line: str) -> None:
    assert [call for call in calls(line) if OUTSIDE.match(call)]


@pytest.mark.parametrize("line", ["workflow.now()", "workflow.uuid4()", "asyncio.sleep(1)"])
def test_what_temporal_replays_may_be_called(line: str) -> None:
    assert not [call for call in calls(line) if OUTSIDE.match(call)]

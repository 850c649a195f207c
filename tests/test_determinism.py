"""Workflow code decides by its input alone: a replay at another time, elsewhere, decides the same.

Workflows run without the SDK's sandbox, whose restrictions hold neither for modules imported at the
head of a file nor for the domain. So the files that run in a workflow may import only what asks
neither the clock, chance, the machine nor the network; of what holds both, they name the safe half.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from devstack.options import ROOT

STARTS: Final = ("workflows.registry", "workflows.correlation", "workflows.converter")
"""The workflows, and what the worker puts around each of them."""
OURS: Final = re.compile(r"(workflows|billing)\b(?!\.core\.ids\.new)")
INSIDE: Final = re.compile(
    r"(abc|calendar|collections|contextlib|dataclasses|datetime|decimal|fractions|functools|json"
    r"|pydantic|re|typing|zoneinfo"
    r"|temporalio\.(api|common|contrib\.pydantic|converter|exceptions|workflow))(\..+)?"
    r"|asyncio|uuid\.(UUID|uuid5)"
)
"""Imports from elsewhere that any of these files may have."""
OUTSIDE: Final = re.compile(
    r"open|print|input\(\)|hash|id|__import__|ids\.new\w*"
    r"|(?!workflow\.).*\.(now|utcnow|today)"
    r"|asyncio\.(?!Future|sleep)\w+"
)
"""Names that none of them may use although nothing forbids their import; `()`: only as a call."""
ALLOWED: Final = {
    ("workflows/policies.py", "os"): "read at the start: whether the worker has a build id",
    ("billing/core/profile.py", "os"): "read at the start: the test profile's timings",
    ("billing/core/ids.py", "uuid_utils"): "new ids, which nothing here asks for",
    ("workflows/correlation.py", "temporalio.client"): "its half around a client's calls",
    ("workflows/correlation.py", "temporalio.worker"): "the classes of interceptors",
}


def imported(source: str) -> Iterator[str]:
    """Yield what a module imports, such as `datetime.UTC`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)


def used(source: str) -> Iterator[str]:
    """Yield the names that a module reads, such as `datetime.now`, and those it calls with `()`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield f"{ast.unparse(node.func)}()"
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield ast.unparse(node)


def refused(source: str) -> set[str]:
    """Return what a module imports or uses of the outside."""
    away = {one for one in imported(source) if not (OURS.match(one) or INSIDE.fullmatch(one))}
    return away | set(filter(OUTSIDE.fullmatch, used(source)))


def workflow_files() -> set[Path]:
    """Return our files that run in a workflow: the starts, and all that they import."""
    found, waiting = set[Path](), [*STARTS]
    while waiting:
        place = ROOT.joinpath(*waiting.pop().split("."))
        for file in (place.with_suffix(".py"), place.parent.with_suffix(".py")):
            if file.is_file() and file.is_relative_to(ROOT) and file not in found:
                found.add(file)
                waiting += imported(file.read_text())
    return found


def test_workflows_ask_nobody_but_temporal() -> None:
    sources = {file.relative_to(ROOT).as_posix(): file.read_text() for file in workflow_files()}
    assert sources.keys() >= {
        "workflows/matter.py", "workflows/subscription.py", "workflows/clock.py",
        "billing/money/subscriptions/rules.py", "billing/matters/agenda.py",
    }  # fmt: skip
    asked = {(file, name) for file, source in sources.items() for name in refused(source)}
    assert asked - ALLOWED.keys() == set()
    assert ALLOWED.keys() <= asked, "an exception that nothing needs any more"


@pytest.mark.parametrize(
    "line",
    ["import time", "from time import monotonic", "from time import time as t", "import random",
     "from random import choice", "from secrets import token_hex", "from os import environ",
     "from uuid import uuid4", "import uuid", "from threading import Thread", "import logging",
     "from pathlib import Path", "from billing.core.ids import new_hex", "import temporalio.client",
     "from temporalio.client import Client", "from asyncio import to_thread",
     "datetime.now(UTC)", "datetime.datetime.now(UTC)", "date.today()", "ids.new()",
     "Field(default_factory=ids.new_hex)", "open('x')", "input()", "sorted(x, key=hash)",
     "asyncio.to_thread(f)", "asyncio.wait(x)", "asyncio.as_completed(x)",
     "asyncio.get_running_loop().run_in_executor(None, f)"],
)  # fmt: skip
def test_what_asks_the_outside_is_found(line: str) -> None:
    assert refused(line)


@pytest.mark.parametrize(
    "line",
    ["workflow.now()", "workflow.uuid4()", "asyncio.sleep(1)", "from uuid import UUID, uuid5",
     "from temporalio import workflow", "from billing.core import ids", "input.headers"],
)  # fmt: skip
def test_what_temporal_replays_is_allowed(line: str) -> None:
    assert not refused(line)


def test_a_module_is_found_however_it_is_imported() -> None:
    for line in ("import workflows.clock", "from workflows import clock"):
        assert list(imported(line)) == ["workflows.clock"]

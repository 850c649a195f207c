"""One stack for the whole run: started by the first test that asks, stopped when the run ends.

A run of unit tests starts nothing. `STACK_ONLY=postgres,temporal` starts a part of it.
"""

import fcntl
import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import pytest

from cli.dev_commands import chosen_parts
from devstack.control import StackControl
from devstack.launch import launch, stop
from devstack.options import Options
from devstack.stack import StackInfo, read_stack
from tests import searching

RUN: Final = "STACK_TEST_RUN"
OWNER: Final = "STACK_TEST_OWNER"

run_folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """The single process, or the controller of many, owns the run; workers inherit its names."""
    searching.begin()
    if hasattr(config, "workerinput"):
        return
    config.stash[run_folder] = Path(tempfile.mkdtemp(prefix="billing-test-"))
    os.environ[RUN] = str(config.stash[run_folder])
    os.environ[OWNER] = str(os.getpid())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Collect first, else Temporal's core may abort the exit; keep the logs of a red run."""
    gc.collect()
    run = session.config.stash.get(run_folder, None)
    if run and exitstatus == pytest.ExitCode.TESTS_FAILED and (run / "data").exists():
        kept = session.config.rootpath / "build" / "test-logs"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(run / "data" / "logs", kept)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Runs after the last worker has ended: stop the stack and leave nothing behind."""
    if run := config.stash.get(run_folder, None):
        stop(run / "data")
        shutil.rmtree(run, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> StackInfo:
    """The run's stack in the test profile, on free ports, shared by every process of the run."""
    run = Path(os.environ[RUN])
    data = run / "data"
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (data / "stack.json").exists():
            return read_stack(data)
        options = Options(
            data=data,
            profile="test",
            free_ports=True,
            ui=False,
            children=chosen_parts(os.environ.get("STACK_ONLY", "")),
            owner=int(os.environ[OWNER]),
        )
        return launch(options).info


@pytest.fixture(scope="session")
def control(stack: StackInfo) -> StackControl:
    """Kill, hold and start the parts of the run's stack."""
    return StackControl(stack.control)

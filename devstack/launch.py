"""Starts a stack as a process of its own and finds, reads and stops running ones.

The same few functions serve `make up`, the tests' fixture, the demo and the benchmarks.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from cli.errors import StackError
from devstack.data_folder import SUPERVISOR, DataFolder
from devstack.options import ROOT, Options
from devstack.stack import StackInfo, read_stack

STOP_SECONDS: Final = 90.0

Progress = Callable[[dict[str, str]], None]
"""Told each event of the start: {"part", "state"} or {"note"}."""


@dataclass(frozen=True)
class RunningStack:
    """A stack that this process started; unless owned, it keeps running when this process ends."""

    info: StackInfo
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """Stop the stack in order and wait until it has ended."""
        self.process.terminate()
        self.process.wait(STOP_SECONDS)


def launch(options: Options, progress: Progress | None = None) -> RunningStack:
    """Start a stack and return when everything is healthy.

    Errors: StackError with one sentence that says what to do; then nothing is left running.
    """
    folder = DataFolder(options.data)
    logs = folder.logs
    try:
        folder.make()
        output = (logs / f"{SUPERVISOR}.log").open("ab")
    except OSError as error:
        raise StackError(
            f"{options.data} cannot be written ({error.strerror}): choose another folder"
        ) from error
    with output:
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack", options.model_dump_json()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    try:
        _follow(process, progress, logs)
        return RunningStack(read_stack(options.data), process)
    except BaseException:  # Ctrl-C included: a stack half started is stopped
        process.terminate()
        process.wait(STOP_SECONDS)
        raise
    finally:
        if process.stdout:
            process.stdout.close()


def stop(data: Path) -> bool:
    """Stop the stack of a folder, whoever started it; return False if none runs.

    Processes that a killed supervisor left are ended too. Errors: StackError when it does not stop.
    """
    folder = DataFolder(data)
    supervisor = folder.running()
    process = supervisor.find() if supervisor else None
    if process is None:
        return data.exists() and _clear(folder)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired as error:
        raise StackError(
            f"the stack on {data} (pid {process.pid}) does not stop: see {folder.logs}"
        ) from error
    return True


def _clear(folder: DataFolder) -> bool:
    """End what a killed supervisor left; return True if there was something."""
    left = folder.lock()
    folder.unlock()
    return bool(left)


def _follow(process: subprocess.Popen[str], progress: Progress | None, logs: Path) -> None:
    """Read progress lines until the stack is ready. Errors: StackError when it is not."""
    for line in process.stdout or ():
        event: dict[str, str] = json.loads(line)
        if "error" in event:
            raise StackError(event["error"])
        if "ready" in event:
            return
        if progress:
            progress(event)
    raise StackError(f"the supervisor ended while starting: see {logs / (SUPERVISOR + '.log')}")

"""One child of the supervisor: it is started, watched until healthy, and restarted if it dies.

Every child has its own session (Ctrl-C reaches the supervisor alone) and its own log file.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cli.errors import StackError
from devstack.data_folder import DataFolder
from devstack.options import ChildName
from devstack.os_user import as_user

READY_SECONDS: Final = 180.0
"""A first start on a machine with other work took more than a minute."""
PROBE_SECONDS: Final = 0.03
PROBE_TIMEOUT_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.2
LAST_PAUSE_SECONDS: Final = 5.0
CALM_SECONDS: Final = 10.0
LOG_TAIL_BYTES: Final = 4096

log = logging.getLogger(__name__)

State = Literal["starting", "ready", "pausing", "held"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Specification of one child. `probe` returns whether it serves; raising means not yet.

    `transient`: texts in the log after which a failed start is retried at once.
    """

    name: ChildName
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    probe: Callable[[], Awaitable[bool]]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    uid: int | None = None
    transient: tuple[str, ...] = ()


class Child:
    """The running process of a spec. All methods run on the supervisor's loop."""

    def __init__(self, spec: Spec, folder: DataFolder) -> None:
        self.spec = spec
        self.folder = folder
        self.log = folder.logs / f"{spec.name}.log"
        self.state: State = "starting"
        self.restarts = 0
        self.pid: int | None = None
        self.ready = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._gone = asyncio.Event()
        self._gone.set()
        self._keeper: asyncio.Task[None] | None = None
        self._log_start = 0
        self._refusal: StackError | None = None
        self._doubt = "no answer yet"

    async def start(self) -> None:
        """Start it for the first time. Errors: StackError if it ends or is not healthy in time."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=self.spec.name)
        await self.wait_ready(fail_on_death=True)

    async def wait_ready(self, *, fail_on_death: bool = False) -> None:
        """Wait until healthy. Errors: StackError if late, or if it dies with `fail_on_death`."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready.is_set():
            if self._refusal is not None:
                raise self._refusal
            if self._keeper is not None and self._keeper.done():
                raise StackError(f"{self.spec.name} cannot run: {self._keeper.exception()}")
            if fail_on_death and self.state == "pausing" and not self._transient_death():
                raise StackError(f"{self.spec.name} ended while starting: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.spec.name} is not ready after {READY_SECONDS:.0f} s "
                    f"({self._doubt}): see {self.log}"
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ready.wait(), PROBE_SECONDS)

    async def kill(self, *, hold: bool) -> None:
        """Send SIGKILL and wait until it has ended; `hold` keeps it down until `resume`."""
        if hold:
            self._wanted.clear()
        self._signal(signal.SIGKILL)
        await self._gone.wait()

    async def stop(self) -> None:
        """Stop it by its own stop signal, then SIGKILL; it stays down until `resume`."""
        self._wanted.clear()
        self._signal(self.spec.stop_signal)
        try:
            await asyncio.wait_for(self._gone.wait(), self.spec.stop_seconds)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._gone.wait()

    def resume(self) -> None:
        """Allow it to run again."""
        self._wanted.set()

    async def begin_again(self) -> None:
        """Allow it to run again, and wait until healthy. Errors: StackError if late."""
        self.resume()
        await self.wait_ready()

    async def close(self) -> None:
        """Stop for good."""
        await self.stop()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def log_tail(self) -> str:
        """Return the last line of the log, and the log's path."""
        lines = [line for line in self._tail().splitlines() if line.strip()]
        return f"{lines[-1].strip() if lines else 'it said nothing'} (see {self.log})"

    async def _keep(self) -> None:
        """Run it and restart it, with a growing pause between deaths."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            if not self._wanted.is_set():
                self.state = "held"
                await self._wanted.wait()
                pause = FIRST_PAUSE_SECONDS
            started = time.monotonic()
            await self._live()
            self.restarts += 1
            if time.monotonic() - started > CALM_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            if self._wanted.is_set():
                await asyncio.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE_SECONDS)

    async def _live(self) -> None:
        """Run it once: spawn, wait for health in the background, wait for the end."""
        self.state = "starting"
        self._gone.clear()
        try:
            process = await self._spawn()
            self.pid = process.pid
            if not self._wanted.is_set():  # told to stop while it was being born
                self._signal(self.spec.stop_signal)
            prober = asyncio.create_task(self._probe())
            await process.wait()
            prober.cancel()
        finally:
            self.ready.clear()
            self.pid = None
            self.state = "pausing" if self._wanted.is_set() else "held"
            self._gone.set()
        log.info("%s (pid %s) ended: %s", self.spec.name, process.pid, process.returncode)
        self.folder.forget(self.spec.name)

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.spec.env),
                cwd=self.spec.cwd,
                start_new_session=True,
                pass_fds=self.folder.inherited,
                **as_user(self.spec.uid),
            )
        self.folder.note(self.spec.name, process.pid)
        log.info("%s started (pid %s)", self.spec.name, process.pid)
        return process

    async def _probe(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                    if await self.spec.probe():
                        self.state = "ready"
                        self.ready.set()
                        return
            except StackError as error:
                self._refusal = error
                return
            except Exception as error:  # noqa: BLE001 - whatever a server half awake answers
                self._doubt = repr(error)
            await asyncio.sleep(PROBE_SECONDS)

    def _signal(self, number: int) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _transient_death(self) -> bool:
        tail = self._tail()
        return any(text in tail for text in self.spec.transient)

    def _tail(self) -> str:
        try:
            with self.log.open("rb") as lines:
                size = lines.seek(0, os.SEEK_END)
                lines.seek(max(self._log_start, size - LOG_TAIL_BYTES))
                return lines.read().decode(errors="replace")
        except OSError:
            return ""

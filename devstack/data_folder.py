"""One data folder, one stack: its lock, the list of living children and its secrets.

Every child inherits the lock's descriptor, so the lock is held while any part of the stack runs.
"""

import fcntl
import json
import logging
import os
import secrets
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import psutil
from pydantic import ValidationError

from billing.core.frozen import Frozen
from cli.errors import StackError

SUPERVISOR: Final = "supervisor"
LOCK: Final = "lock"
END_SECONDS: Final = 5.0
LOCK_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class Process(Frozen):
    """A process by pid and start time, so that a reused pid is not mistaken for it."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the process that has this pid now. Errors: psutil.NoSuchProcess."""
        return cls(pid=pid, created=psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Return the running process, or None; a zombie counts as ended."""
        try:
            found = psutil.Process(self.pid)
            if found.create_time() != self.created or found.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return found


class Secrets(Frozen):
    """Secrets, made once per data folder and readable by its owner only."""

    superuser_password: str
    owner_password: str
    app_password: str
    operator_password: str
    jwt_secret: str
    stripe_webhook_secret: str


class DataFolder:
    """The folder on disk; `lock()` makes this process its only supervisor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.stack_file = path / "stack.json"
        self.lock_fd: int | None = None
        self._children_file = path / "children.json"
        self._children: dict[str, Process] = {}
        self._run_folder: Path | None = None
        self._unwritten: OSError | None = None

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that every process of the stack must inherit."""
        return () if self.lock_fd is None else (self.lock_fd,)

    def make(self) -> None:
        """Create the folder: others, such as PostgreSQL's user, may enter it but not list it."""
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)

    def lock(self) -> list[str]:
        """Lock the folder; end what a dead supervisor left, and return the names.

        Errors: StackError when another stack runs on it, or when it cannot be written.
        """
        try:
            self.make()
            self.lock_fd = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        left = [] if self._try_lock() else self._take_over()
        if stale := self._read()[1]:
            shutil.rmtree(stale, ignore_errors=True)
        self.note(SUPERVISOR, os.getpid())
        if self._unwritten:
            raise self._unwritable(self._unwritten)
        self.stack_file.unlink(missing_ok=True)
        return left

    def unlock(self) -> None:
        """Release the lock; children that inherited it still hold it."""
        self.forget(SUPERVISOR)
        if self.lock_fd is not None:
            os.close(self.lock_fd)
            self.lock_fd = None

    def running(self) -> Process | None:
        """Return the running supervisor of this folder, or None."""
        entry = self._read()[0].get(SUPERVISOR)
        return entry if entry and entry.find() else None

    def note(self, name: str, pid: int) -> None:
        """Record a process of this stack, for the cleanup after a kill -9."""
        with suppress(psutil.NoSuchProcess):
            self._children[name] = Process.of(pid)
        self._write()

    def note_run_folder(self, path: Path) -> None:
        """Record the folder of sockets, which is outside this one."""
        self._run_folder = path
        self._write()

    def forget(self, name: str) -> None:
        """Remove a process of this stack that has ended."""
        self._children.pop(name, None)
        self._write()

    def catch_up(self) -> None:
        """Write the list if that has failed before, as on a full disk."""
        if self._unwritten:
            self._write()

    def secrets(self) -> Secrets:
        """Read the secrets; create them first if missing. Errors: StackError for a damaged file."""
        file = self.path / "secrets.json"
        if not file.exists():
            made = Secrets(
                **{name: secrets.token_hex(24) for name in Secrets.model_fields}
            ).model_copy(update={"stripe_webhook_secret": "whsec_" + secrets.token_hex(24)})
            write_private(file, made.model_dump_json(indent=1))
        try:
            return Secrets.model_validate_json(file.read_text())
        except ValidationError as error:
            raise StackError(
                f"{file} is damaged: restore it, or start again in another folder"
            ) from error

    def _try_lock(self) -> bool:
        if self.lock_fd is None:
            return False
        try:
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _take_over(self) -> list[str]:
        if self.running():
            raise StackError(
                f"another stack runs on {self.path}: stop it with make down, "
                "or choose another folder with STACK_DATA"
            )
        entries, _ = self._read()
        left = {name: found for name, entry in entries.items() if (found := entry.find())}
        end(left)
        deadline = time.monotonic() + LOCK_SECONDS
        while not self._try_lock():
            if time.monotonic() > deadline:
                raise StackError(
                    f"a process of an earlier stack still holds {self.path / 'lock'}: "
                    "end it (fuser shows which), or choose another folder with STACK_DATA"
                )
            time.sleep(0.05)
        return sorted(left)

    def _read(self) -> tuple[dict[str, Process], Path | None]:
        try:
            content = json.loads(self._children_file.read_text())
            entries = {name: Process(**entry) for name, entry in content["children"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}, None
        folder = content.get("run_folder")
        return entries, Path(folder) if folder else None

    def _write(self) -> None:
        """Write the list. A full disk ends nobody who notes a process: `catch_up` tries again."""
        content = {
            "children": {name: entry.model_dump() for name, entry in self._children.items()},
            "run_folder": str(self._run_folder) if self._run_folder else None,
        }
        try:
            write_private(self._children_file, json.dumps(content, indent=1))
        except FileNotFoundError:
            return  # somebody deleted the whole folder
        except OSError as error:
            if self._unwritten is None:
                log.warning("%s cannot be written: %s", self._children_file, error.strerror)
            self._unwritten = error
        else:
            self._unwritten = None

    def _unwritable(self, error: OSError) -> StackError:
        return StackError(
            f"{self.path} cannot be written ({error.strerror}): choose another folder"
        )


def end(processes: dict[str, psutil.Process]) -> None:
    """End exactly these processes, first by a signal: PostgreSQL's fast stop is an interrupt."""
    for name, process in processes.items():
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(list(processes.values()), timeout=END_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=END_SECONDS)


def write_private(file: Path, content: str) -> None:
    """Write by rename, mode 0600: a reader sees the old or the new content, never a part."""
    draft = file.with_name(file.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(content)
    draft.replace(file)

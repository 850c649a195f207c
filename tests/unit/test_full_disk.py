"""The supervisor goes on while its disk is full, and notes its children once there is room."""

import asyncio
import errno
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cli.errors import StackError
from devstack import data_folder, process
from devstack.__main__ import watch
from devstack.data_folder import DataFolder
from devstack.options import Options
from devstack.process import Child, Spec

PATIENCE_SECONDS = 10.0


class Disk:
    """A disk that may be full; `write` stands for that of the folder."""

    def __init__(self) -> None:
        self.is_full = False
        self._write = data_folder.write_private

    def write(self, file: Path, content: str) -> None:
        if self.is_full:
            file.with_name(file.name + ".new").write_text("")
            raise OSError(errno.ENOSPC, "No space left on device")
        self._write(file, content)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr(data_folder, "write_private", found.write)
    monkeypatch.setattr(process, "FIRST_PAUSE_SECONDS", 0.01)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    found = DataFolder(tmp_path / "data")
    found.make()
    return found


async def serves() -> bool:
    return True


@pytest.fixture
async def child(folder: DataFolder, disk: Disk) -> AsyncIterator[Child]:
    assert not disk.is_full
    argv = (sys.executable, "-c", "import time; time.sleep(600)")
    spec = Spec(name="api", argv=argv, env={}, cwd=folder.path, probe=serves)
    found = Child(spec, folder)
    await found.start()
    yield found
    await found.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - a child and a file tell nobody
            await asyncio.sleep(0.01)


def noted(folder: DataFolder) -> Any:
    """The pid of the child in the folder's list."""
    listed = json.loads((folder.path / "children.json").read_text())["children"]
    return listed.get("api", {}).get("pid")


async def test_what_ends_meanwhile_is_started_again(
    disk: Disk, folder: DataFolder, child: Child
) -> None:
    first = child.pid
    disk.is_full = True
    for _ in range(2):
        await child.kill(hold=False)
        await until(lambda: child.state == "ready")
    assert child.restarts == 2
    assert noted(folder) == first, "there was no room for another list"

    disk.is_full = False
    stopping = asyncio.Event()
    (folder.path / data_folder.LOCK).touch()
    watching: Awaitable[None] = asyncio.ensure_future(
        watch(Options(data=folder.path), stopping, folder)
    )
    await until(lambda: noted(folder) == child.pid)
    stopping.set()
    await watching


def test_a_stack_does_not_start_where_it_cannot_note_its_children(
    disk: Disk, tmp_path: Path
) -> None:
    disk.is_full = True
    with pytest.raises(StackError, match=r"cannot be written .*No space left"):
        DataFolder(tmp_path / "data").lock()

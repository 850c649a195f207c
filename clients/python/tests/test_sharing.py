"""Processes on one spool, each with one client or more: a crash of any loses no event."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from durable_billing import spool as spool_module
from durable_billing.spool import Spool

_HOLDER = """
import sys
from pathlib import Path
from durable_billing.spool import Spool

path, spools = Path(sys.argv[1]), int(sys.argv[2])
opened = [Spool(path, max_bytes=1 << 30) for _ in range(spools)]
opened[0].add([("e0", b"{}")])
print([one.lease() for one in opened], flush=True)
sys.stdin.readline()
opened[0].add([(f"e{number}", b"{}") for number in range(2, 7)])
print(opened[0].waiting(), flush=True)
sys.stdin.readline()
"""
_PASSER_BY = """
import sys
from pathlib import Path
from durable_billing.spool import Spool

one = Spool(Path(sys.argv[1]), max_bytes=1 << 30)
print(one.lease())
one.add([("e1", b"{}")])
one.close()
"""


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    source = Path(spool_module.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r})\n{script}",
         *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


class Holder:
    """A process that has opened the spool a number of times, and has one event in it."""

    def __init__(self, path: Path, spools: int) -> None:
        self._process = started(_HOLDER, path, spools)
        self.leases = self.told()

    def told(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go_on(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.told()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def holding(path: Path, spools: int) -> Iterator[Holder]:
    holder = Holder(path, spools)
    try:
        yield holder
    finally:
        holder.kill()


@pytest.mark.parametrize("spools", [1, 2, 3])
def test_events_added_after_another_process_has_closed_outlive_a_kill(
    tmp_path: Path, spools: int
) -> None:
    path = tmp_path / "spool.db"
    with holding(path, spools) as holder:
        assert holder.leases == str([True] + [False] * (spools - 1))
        passer_by, _ = started(_PASSER_BY, path).communicate(timeout=60)
        assert passer_by.strip() == "False"
        assert holder.go_on() == "7"
        holder.kill()
    found = Spool(path, max_bytes=1 << 30)
    assert {one.event_id for one in found.take(100, 10_000)} == {f"e{n}" for n in range(7)}
    found.close()


def test_a_new_file_is_closed_before_another_thread_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spool.db"
    opened = threading.Event()

    def open_too() -> None:
        Spool(path, max_bytes=1 << 30).close()
        opened.set()

    other = threading.Thread(target=open_too)
    close = os.close

    def close_late(descriptor: int) -> None:
        if other.ident is None:
            other.start()
            assert not opened.wait(0.5)
        close(descriptor)

    monkeypatch.setattr(os, "close", close_late)
    Spool(path, max_bytes=1 << 30).close()
    other.join()
    assert opened.is_set()

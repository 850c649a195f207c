"""Waiting events in a SQLite file: each stays until the API has answered for it.

Any number of threads and processes may add to one spool; the one with the lease sends.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from durable_billing.answers import Rejected
from durable_billing.errors import ClientClosed, SpoolBroken, SpoolFull

BUSY_SECONDS: Final = 10.0
MAX_JOURNAL_BYTES: Final = 16_777_216
_CREATING: Final = threading.Lock()
"""Held until a new file is closed: no thread may open it before."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    body BLOB NOT NULL,
    code TEXT,
    detail TEXT
);
CREATE INDEX IF NOT EXISTS waiting ON events (seq) WHERE code IS NULL;
CREATE INDEX IF NOT EXISTS rejected ON events (seq) WHERE code IS NOT NULL;
"""


class Waiting(NamedTuple):
    """An event without an answer so far."""

    seq: int
    event_id: str
    body: bytes


class Refusal(NamedTuple):
    """The reason why an event was rejected."""

    seq: int
    code: str
    detail: str


class Spool:
    """The events of one file. Errors of every method: SpoolBroken, ClientClosed."""

    def __init__(self, path: Path, *, max_bytes: int, survives_power_loss: bool = False) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._lease: sqlite3.Connection | None = None
        self._database = self._open(path)
        with self._use() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {'FULL' if survives_power_loss else 'NORMAL'}")
            database.execute(f"PRAGMA journal_size_limit = {MAX_JOURNAL_BYTES}")
            database.executescript(_SCHEMA)
            self._page_bytes = int(database.execute("PRAGMA page_size").fetchone()[0])

    def close(self) -> None:
        """Close the file and give up the lease."""
        with self._lock:
            self._database.close()
            if self._lease is not None:
                self._lease.close()
                self._lease = None

    def add(self, events: Iterable[tuple[str, bytes]]) -> int:
        """Store events, all or none; return the number of the last. Errors: SpoolFull."""
        with self._transaction() as database:
            if self._bytes(database) >= self._max_bytes:
                raise SpoolFull(f"{self._path} has reached {self._max_bytes} bytes")
            last = 0
            for event in events:
                done = database.execute("INSERT INTO events (event_id, body) VALUES (?, ?)", event)
                last = done.lastrowid or last
            return last

    def take(self, max_rows: int, max_bytes: int, after: int = 0) -> list[Waiting]:
        """Return the oldest waiting events after a number, within limits; at least one, if any."""
        taken: list[Waiting] = []
        size = 0
        query = (
            "SELECT seq, event_id, body FROM events WHERE code IS NULL AND seq > ?"
            " ORDER BY seq LIMIT ?"
        )
        with self._use() as database:
            for row in database.execute(query, (after, max_rows)):
                event = Waiting(*row)
                size += len(event.body) + 1
                if taken and size > max_bytes:
                    break
                taken.append(event)
        return taken

    def record_answers(self, acknowledged: Sequence[int], refused: Sequence[Refusal]) -> None:
        """Delete recorded events; keep rejected ones with the reason."""
        with self._transaction() as database:
            gone = ((seq,) for seq in acknowledged)
            database.executemany("DELETE FROM events WHERE seq = ?", gone)
            database.executemany(
                "UPDATE events SET code = ?, detail = ? WHERE seq = ?",
                ((one.code, one.detail, one.seq) for one in refused),
            )

    def waiting(self) -> int:
        """Return the number of waiting events; reads all of them."""
        with self._use() as database:
            query = "SELECT count(*) FROM events WHERE code IS NULL"
            return int(database.execute(query).fetchone()[0])

    def waits(self, up_to: int) -> bool:
        """True if an event up to this number waits; as fast with millions of them."""
        query = "SELECT EXISTS (SELECT 1 FROM events WHERE code IS NULL AND seq <= ?)"
        with self._use() as database:
            return bool(database.execute(query, (up_to,)).fetchone()[0])

    def last(self) -> int:
        """Return the number of the newest waiting event; 0 when none waits."""
        with self._use() as database:
            query = "SELECT max(seq) FROM events WHERE code IS NULL"
            return int(database.execute(query).fetchone()[0] or 0)

    def rejected(self, after: int, limit: int) -> list[Rejected]:
        """Return rejected events, oldest first."""
        query = (
            "SELECT seq, event_id, body, code, detail FROM events"
            " WHERE code IS NOT NULL AND seq > ? ORDER BY seq LIMIT ?"
        )
        with self._use() as database:
            rows = database.execute(query, (after, limit)).fetchall()
        return [
            Rejected(seq, event_id, json.loads(body), code, detail or "")
            for seq, event_id, body, code, detail in rows
        ]

    def rejections(self) -> int:
        """Return the number of rejected events kept."""
        with self._use() as database:
            query = "SELECT count(*) FROM events WHERE code IS NOT NULL"
            return int(database.execute(query).fetchone()[0])

    def requeue(self, numbers: Sequence[int]) -> int:
        """Make rejected events wait again, in their old place; return how many."""
        return self._each(
            "UPDATE events SET code = NULL, detail = NULL WHERE seq = ? AND code IS NOT NULL",
            numbers,
        )

    def forget(self, numbers: Sequence[int]) -> int:
        """Delete rejected events; return how many."""
        return self._each("DELETE FROM events WHERE seq = ? AND code IS NOT NULL", numbers)

    def size(self) -> int:
        """Return the used bytes of the file."""
        with self._use() as database:
            return self._bytes(database)

    def lease(self) -> bool:
        """Try to become the sender; False while another process is. A lease ends with its process.

        It is SQLite's lock on a second file: the system releases it however the process ends.
        """
        if self._lease is not None:
            return True
        beside = self._open(self._path.with_name(self._path.name + "-sender"), patience=0)
        try:
            beside.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            beside.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                return False
            raise SpoolBroken(f"{self._path}: {error}") from error
        self._lease = beside
        return True

    def _each(self, statement: str, numbers: Sequence[int]) -> int:
        with self._transaction() as database:
            done = database.executemany(statement, ((number,) for number in numbers))
            return max(0, done.rowcount)

    def _bytes(self, database: sqlite3.Connection) -> int:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        free = database.execute("PRAGMA freelist_count").fetchone()[0]
        return int((pages - free) * self._page_bytes)

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._pid:
            raise ClientClosed("open the client in the process that uses it, after the fork")
        with self._lock:
            try:
                yield self._database
            except sqlite3.ProgrammingError as error:
                raise ClientClosed("the client is closed") from error
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    raise SpoolFull(f"the disk of {self._path} is full") from error
                raise SpoolBroken(f"{self._path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._use() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                if database.in_transaction:  # SQLite itself ends one for which the disk is full
                    database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def _open(self, path: Path, patience: float = BUSY_SECONDS) -> sqlite3.Connection:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path.resolve())
            return sqlite3.connect(
                path, timeout=patience, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise SpoolBroken(f"{path}: {error}") from error


def _create(path: Path) -> None:
    """Create the file if it is missing; never open one that exists.

    Closing any descriptor of a file drops all locks of this process on it. Without the locks of an
    open spool, another process deletes its journal with the events that it adds later.
    """
    with _CREATING, suppress(FileExistsError):
        # Events may contain personal data: only the owner may read them.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

"""The superuser of a stack's database, who reads and writes behind every wall."""

import select
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import DictRow, dict_row

Connection = psycopg.AsyncConnection[DictRow]


class Superuser:
    """Runs statements on sessions that it keeps, for a new one costs ten milliseconds of processor.

    Who runs one beside another has a session of its own. A statement that fails, and a server that
    stops, take theirs away. Settings of a session belong into `other_session`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._resting: list[Connection] = []

    async def rows(self, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows of one statement that commits by itself; values as `%(name)s`."""
        session = await self._session()
        try:
            cursor = await session.execute(query.encode(), values)
            found = await cursor.fetchall() if cursor.description else []
        except BaseException:  # a wait that was given up included: its statement may still run
            await session.close()
            raise
        self._resting.append(session)
        return found

    async def _session(self) -> Connection:
        while self._resting:
            session = self._resting.pop()
            if not _is_ended(session):
                return session
            await session.close()
        # Statements are planned anew each time, as tables change under them.
        return await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """End the sessions that rest: no database is dropped while somebody is in it."""
        while self._resting:
            await self._resting.pop().close()


def _is_ended(session: Connection) -> bool:
    """True if the server said something unasked, which is its farewell, or hung up."""
    line = select.poll()
    line.register(session.fileno(), select.POLLIN)
    return bool(line.poll(0))

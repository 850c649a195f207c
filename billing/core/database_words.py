"""The reason of a database's error in one line, as Postgres or its driver says it."""

from typing import Final

from psycopg import Error

from billing.core.database_errors import origin_of

MOST: Final = 300


def database_words(error: BaseException) -> str:
    """Type and message, without its details: these hold values of rows, and the SQL is long."""
    return f"{type(origin_of(error)).__name__}: {message_of(error)}".rstrip(": ")


def message_of(error: BaseException) -> str:
    """The message alone.

    The driver tells of several addresses in several lines: one that Postgres answered says why.
    """
    cause = origin_of(error)
    told = cause.diag.message_primary if isinstance(cause, Error) else None
    lines = [line.strip() for line in str(told or cause).splitlines() if line.strip()]
    words = next((line for line in lines if "FATAL:" in line), lines[0] if lines else "")
    if words.endswith("were:"):
        words = lines[1] if len(lines) > 1 else words
    return words[:MOST]

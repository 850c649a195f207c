"""The reason for a database error in one line, from Postgres or its driver."""

from typing import Final

from psycopg import Error

from billing.core.database_errors import origin_of

MOST: Final = 300


def database_words(error: BaseException) -> str:
    """Return type and message, without details, which contain values of rows and long SQL."""
    return f"{type(origin_of(error)).__name__}: {message_of(error)}".rstrip(": ")


def message_of(error: BaseException) -> str:
    """Return the message alone.

    With several addresses the driver reports several lines; the line from Postgres has the reason.
    """
    cause = origin_of(error)
    message = cause.diag.message_primary if isinstance(cause, Error) else None
    lines = [line.strip() for line in str(message or cause).splitlines() if line.strip()]
    words = next((line for line in lines if "FATAL:" in line), lines[0] if lines else "")
    if words.endswith("were:"):
        words = lines[1] if len(lines) > 1 else words
    return words[:MOST]

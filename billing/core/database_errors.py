"""A database's error as the driver has it, below SQLAlchemy's own."""

import psycopg
from sqlalchemy.exc import DBAPIError


def origin_of(error: BaseException) -> BaseException:
    """The driver's error, where SQLAlchemy has wrapped one; else the error itself."""
    wrapped = error.orig if isinstance(error, DBAPIError) else None
    return wrapped or error


def is_full(error: BaseException) -> bool:
    """True of a server that has no connection left for the role that asked.

    The driver has no code of a refused connection, only the words of Postgres.
    """
    words = str(origin_of(error))
    return "too many clients" in words or "connection slots are reserved" in words


def refuses_password(error: BaseException) -> bool:
    """True of a server for which the role's password is wrong. It has no code either."""
    return "password authentication failed" in str(origin_of(error))


def took_too_long(error: BaseException) -> bool:
    """True of a statement that was ended at its limit."""
    return isinstance(origin_of(error), psycopg.errors.QueryCanceled)


def takes_no_writes(error: BaseException) -> bool:
    """True of a server that only reads, such as one that was the primary before a failover.

    Its connections are let go: the next ones may meet the primary of now.
    """
    return isinstance(origin_of(error), psycopg.errors.ReadOnlySqlTransaction)

"""Classification of database errors by the driver's error, which SQLAlchemy wraps."""

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


def origin_of(error: BaseException) -> BaseException:
    """Return the driver's error if SQLAlchemy wrapped one; else the error itself."""
    wrapped = error.orig if isinstance(error, DBAPIError) else None
    return wrapped or error


def sqlstate_of(error: BaseException) -> str | None:
    """Return Postgres's code of the error; None: it has none, or is no error of the database."""
    origin = origin_of(error)
    return origin.sqlstate if isinstance(origin, psycopg.Error) else None


def is_full(error: BaseException) -> bool:
    """True if the server has no connection left for the role.

    The driver gives no error code for a refused connection, only Postgres's message.
    """
    words = str(origin_of(error))
    return "too many clients" in words or "connection slots are reserved" in words


def has_no_room(error: BaseException) -> bool:
    """True if the server's disk is full: it reads, and refuses a write that needs new room."""
    return isinstance(origin_of(error), psycopg.errors.DiskFull)


def refuses_password(error: BaseException) -> bool:
    """True if the role's password is wrong. This error has no code either."""
    return "password authentication failed" in str(origin_of(error))


def lacks_right(error: BaseException) -> bool:
    """True if the role lacks a right."""
    return isinstance(origin_of(error), psycopg.errors.InsufficientPrivilege)


def hides_rows(error: BaseException) -> bool:
    """True if row-level security would hide rows from the operators' role, which must see all.

    The code is that of any missing right.
    """
    return lacks_right(error) and "row-level security" in str(origin_of(error))


def took_too_long(error: BaseException) -> bool:
    """True if the statement was canceled at its timeout."""
    return isinstance(origin_of(error), psycopg.errors.QueryCanceled)


def is_busy(error: BaseException) -> bool:
    """True if the statement was canceled or refused because of the rows it asked for: they took
    too long, or are not to be had now. A statement on other rows may succeed.
    """
    return took_too_long(error) or isinstance(origin_of(error), psycopg.errors.LockNotAvailable)


def takes_no_writes(error: BaseException) -> bool:
    """True if the server is read-only, such as the former primary after a failover.

    Its connections are closed, because new ones may reach the current primary.
    """
    return isinstance(origin_of(error), psycopg.errors.ReadOnlySqlTransaction)


def database_is_away(error: BaseException) -> bool:
    """True if Postgres is unreachable, cut the connection, is full, or is read-only.

    A commit that was under way may have been done.
    """
    if isinstance(error, PoolTimeout):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if takes_no_writes(error):
        return True
    origin = origin_of(error)
    if not isinstance(origin, (psycopg.OperationalError, psycopg.InterfaceError)):
        return False
    return (origin.sqlstate or "08000").startswith(("08", "57P", "53"))

"""The outcome of a repair of the schema, and the attempt at it beside others in one transaction."""

from typing import Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from billing.core.database_errors import lacks_right

NEEDS_OWNER: Final = "this command needs the owner of the tables: set DATABASE_OWNER_URL"


class Repair(NamedTuple):
    """A line for the operator; if it is not done, somebody still has to act."""

    words: str
    is_done: bool = True


def refusal(connection: Connection, *statements: str) -> str | None:
    """Execute the statements; return why Postgres refused one, and undo them then."""
    try:
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        return NEEDS_OWNER if lacks_right(error) else str(error.orig).replace("\n", " ").strip()
    return None

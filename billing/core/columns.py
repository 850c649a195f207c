"""The parts of a table: a column is NOT NULL unless it says `nullable=True`.

All instants have a time zone; all credits, units and prices have one precision.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB

from billing.core.database import metadata


def table(name: str, *parts: Any, **options: Any) -> Table:
    """A table of the product."""
    return Table(name, metadata, *parts, **options)


def column(name: str, *type_and_more: Any, nullable: bool = False, **options: Any) -> Column[Any]:
    """A column of a type without its own function below."""
    return Column(name, *type_and_more, nullable=nullable, **options)


def row_id() -> Column[Any]:
    """The primary key of most tables."""
    return column("id", Uuid, primary_key=True)


def account(**options: Any) -> Column[Any]:
    """The account that owns the row; row-level security uses it."""
    return reference("account_id", "accounts.id", **options)


def reference(name: str, to: str, **options: Any) -> Column[Any]:
    """A foreign key to a row of another table."""
    return column(name, Uuid, ForeignKey(to), **options)


def whole_key() -> UniqueConstraint:
    """The key to which `same_account` of other tables refers; it begins with `id` for look-ups."""
    return UniqueConstraint("id", "account_id")


LATE: Final = {"deferrable": True, "initially": "DEFERRED"}
"""Of a key that holds from the end of a transaction: it may be written before what it refers to."""
MUTUAL: Final = {**LATE, "use_alter": True}
"""Of such a key to a row that refers to this one too."""


def same_account(name: str, table: str, **more: Any) -> ForeignKeyConstraint:
    """A foreign key to a row of the same account."""
    referred = (f"{table}.id", f"{table}.account_id")
    return ForeignKeyConstraint((name, "account_id"), referred, **more)


def uuid(name: str, **options: Any) -> Column[Any]:
    """An id without a foreign key, unless `same_account` adds one."""
    return column(name, Uuid, **options)


def text(name: str, **options: Any) -> Column[Any]:
    """A text: a sentence, key, state or currency."""
    return column(name, Text, **options)


def flag(name: str, **options: Any) -> Column[Any]:
    """A boolean."""
    return column(name, Boolean, **options)


def derived_flag(name: str, rule: str) -> Column[Any]:
    """A boolean that Postgres computes from the other columns of its row."""
    return column(name, Boolean, Computed(rule, persisted=True))


def integer(name: str, **options: Any) -> Column[Any]:
    """A small number: days, versions, counts."""
    return column(name, Integer, **options)


def bigint(name: str, **options: Any) -> Column[Any]:
    """Money in minor units, and growing numbers."""
    return column(name, BigInteger, **options)


def amount(name: str, **options: Any) -> Column[Any]:
    """Credits, units or a price: 15 digits before the decimal point, 12 after it."""
    return column(name, Numeric(27, 12), **options)


def total(name: str, **options: Any) -> Column[Any]:
    """A sum of amounts that cannot overflow: 26 digits before the decimal point."""
    return column(name, Numeric(38, 12), **options)


def instant(name: str, **options: Any) -> Column[Any]:
    """A moment in time."""
    return column(name, DateTime(timezone=True), **options)


def day(name: str, **options: Any) -> Column[Any]:
    """A day of the calendar."""
    return column(name, Date, **options)


def json(name: str, **options: Any) -> Column[Any]:
    """A JSON document."""
    return column(name, JSONB, **options)


def check(rule: str, *, name: str) -> CheckConstraint:
    """A condition that must hold for each row."""
    return CheckConstraint(rule, name=name)


def index(name: str, *columns: Any, where: str | None = None, **options: Any) -> Index:
    """An index, with `where` a partial one."""
    rows = None if where is None else sql(where)
    return Index(name, *columns, postgresql_where=rows, **options)

"""Each alternative of a check is needed: some damage is found by nothing else of it."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest
from pglast import ast, parse_sql
from pglast.enums import BoolExprType, JoinType, SetOperation
from pglast.stream import RawStream
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.integrity.narrowed import tables
from tests.integration.integrity.alternatives import ME, OF, ONE, QUERIES, Rows

_VALUES: Final = {"now": "now()", "minimums": "'{}'", "minimum": "0"}
_OUTER: Final = (JoinType.JOIN_LEFT, JoinType.JOIN_RIGHT)
Place = tuple[Callable[[Any], None], Any]
"""A place of alternatives in a query: what puts something there, and all but one of these."""


def _parsed(query: str) -> Any:
    return parse_sql(query)[0].stmt


_NOTHING: Final = _parsed("SELECT WHERE false").whereClause


def _written(name: str) -> str:
    return re.sub(
        r"(?<!:):([a-z]\w*)", lambda of: _VALUES.get(of[1], "interval '0'"), QUERIES[name]
    )


def _without_one(query: str) -> Iterator[str]:
    """Yield the query without each of its alternatives in turn."""
    for number in range(len(_places(_parsed(query)))):
        statement = _parsed(query)
        put, rest = _places(statement)[number]
        put(rest)
        yield RawStream()(statement)


def _places(statement: Any) -> list[Place]:
    found: list[Place] = []
    _selects(statement, found)
    return found


def _selects(select: Any, found: list[Place], *, is_one_of_many: bool = False) -> None:
    if select.op == SetOperation.SETOP_UNION:
        for part in (select.larg, select.rarg):
            _selects(part, found, is_one_of_many=True)
        return
    if is_one_of_many:
        found.append((partial(setattr, select, "whereClause"), _NOTHING))
    for clause in ("whereClause", "havingClause"):
        _conditions(getattr(select, clause), found)
    for part in select.fromClause or ():
        _sources(part, found)


def _sources(part: Any, found: list[Place]) -> None:
    if isinstance(part, ast.RangeSubselect) and not part.lateral:
        _selects(part.subquery, found)
    elif isinstance(part, ast.JoinExpr) and part.jointype != JoinType.JOIN_FULL:
        _sources(part.larg, found)
        if part.jointype not in _OUTER:
            _sources(part.rarg, found)


def _conditions(condition: Any, found: list[Place]) -> None:
    is_case = isinstance(condition, ast.CaseExpr)
    if not is_case and not isinstance(condition, ast.BoolExpr):
        return
    if is_case or condition.boolop == BoolExprType.OR_EXPR:
        for i in range(len(condition.args)):
            rest = (*condition.args[:i], *condition.args[i + 1 :])
            found.append((partial(setattr, condition, "args"), rest))
    if not is_case and condition.boolop != BoolExprType.NOT_EXPR:
        for one in condition.args:
            _conditions(one, found)


async def _found(connection: AsyncConnection, query: str, rows: Rows) -> bool:
    for table, there in rows.items():
        await connection.execute(text(f"TRUNCATE pg_temp.{table}"))
        for row in there:
            given = {"id": str(ME) if table == "accounts" else ONE, "account_id": str(ME)} | row
            await connection.execute(
                text(
                    f"INSERT INTO pg_temp.{table}"
                    f" SELECT * FROM jsonb_populate_record(NULL::pg_temp.{table}, :row)"
                ),
                {"row": json.dumps(given)},
            )
    plain = query.replace("%", "%%")
    answer = await connection.exec_driver_sql(f"SELECT count(*) FROM ({plain}) AS found")
    for table in rows:
        await connection.execute(text(f"TRUNCATE pg_temp.{table}"))
    return bool(answer.scalar_one())


async def _emptied(connection: AsyncConnection, name: str) -> None:
    """Hide the tables of a check behind empty ones that demand nothing of a row."""
    real = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relname = ANY(:names)"
    names = {*tables(QUERIES[name]), *(one for rows, _ in OF[name].cases() for one in rows)}
    for table in await connection.scalars(text(real), {"names": list(names)}):
        await connection.execute(
            text(f"CREATE TEMP TABLE {table} ON COMMIT DROP AS SELECT * FROM {table} WHERE false")
        )


def test_each_check_with_alternatives_has_a_damage_for_each() -> None:
    several = {name for name in QUERIES if any(True for _ in _without_one(_written(name)))}
    # test_rewritten_audit.py has what may be done to the audit, whose digests need whole rows.
    assert several - {"audit_chain"} <= set(OF)


@pytest.mark.parametrize("name", sorted(OF))
async def test_each_alternative_of_a_check_is_needed(superuser: AsyncConnection, name: str) -> None:
    query, cases = _written(name), OF[name].cases()
    await _emptied(superuser, name)
    for rows, is_wrong in cases:
        assert await _found(superuser, query, rows) == is_wrong, rows
    for left in _without_one(query):
        seen = [await _found(superuser, left, rows) == is_wrong for rows, is_wrong in cases]
        assert not all(seen), f"no damage needs what is left out here: {left}"

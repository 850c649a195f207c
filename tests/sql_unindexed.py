"""Conditions of SQL functions that row-level security keeps from an index.

`d.key = l.key || '/debt'` compares a column with what a function makes of another table's column.
Such a function may tell what it sees, so Postgres checks the policy of `d` first: it reads the rows
of all tenants, where a superuser's plan looks one up. A key is made of parameters, or in a
materialized common table expression or an array, whose columns no function wraps any more. Only
conditions between the tables of one FROM are seen, none within a subquery on a table outside it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from pglast import ast, parse_sql
from pglast.parser import ParseError, parse_plpgsql_json
from pglast.stream import RawStream
from pglast.visitors import Skip, Visitor

_ASSIGNED: Final = re.compile(r"^\s*\w[\w.\[\]]*\s*:?=\s*")
_BY_ACCOUNT: Final = "account_id"
# Months of uses are few, and each is looked up by its own key.
_PARTITION: Final = "month"
Tables = dict[str, str]
"""Tables by their aliases in one FROM."""


def unindexed(written: str, body: str, language: str, tenants: frozenset[str]) -> Iterator[str]:
    """Yield the conditions of a function's statements that no index serves under a policy."""
    for query in _queries(written) if language == "plpgsql" else [body]:
        found = _Statements(tenants)
        for statement in _parsed(query):
            found(statement.stmt)
        yield from found.conditions


def _queries(written: str) -> Iterator[str]:
    """Yield the SQL of each statement and expression of a PL/pgSQL function."""
    left: list[Any] = [json.loads(parse_plpgsql_json(written))]
    while left:
        one = left.pop()
        if isinstance(one, dict) and isinstance(one.get("query"), str):
            yield one["query"]
        elif isinstance(one, dict | list):
            left += one.values() if isinstance(one, dict) else one


def _parsed(query: str) -> Any:
    try:
        return parse_sql(query)
    except ParseError:
        return parse_sql("SELECT " + _ASSIGNED.sub("", query))


class _Statements(Visitor):
    """Collects the conditions of all SELECT, UPDATE and DELETE within a statement."""

    def __init__(self, tenants: frozenset[str]) -> None:
        super().__init__()
        self._tenants = tenants
        self.conditions: list[str] = []

    def visit_SelectStmt(self, _: Any, node: Any) -> None:  # noqa: N802 - pglast's name
        self._look(node.fromClause, node.whereClause)

    def visit_UpdateStmt(self, _: Any, node: Any) -> None:  # noqa: N802
        self._look((node.relation, *(node.fromClause or ())), node.whereClause)

    def visit_DeleteStmt(self, _: Any, node: Any) -> None:  # noqa: N802
        self._look((node.relation, *(node.usingClause or ())), node.whereClause)

    def _look(self, parts: Any, where: Any) -> None:
        tables: Tables = {}
        conditions = [where] if where is not None else []
        for part in parts or ():
            conditions += _joined(part, tables)
        pairs = [pair for one in conditions for pair in _compared(one)]
        bound = {
            _alias(column)
            for column, other in pairs
            if _name(column) == _BY_ACCOUNT and not _wrapped(other)
        }
        for column, other in pairs:
            alias = _alias(column)
            if (
                tables.get(alias) in self._tenants
                and alias not in bound
                and _name(column) != _PARTITION
                and _wrapped(other) & (tables.keys() - {alias})
            ):
                self.conditions.append(f"{RawStream()(column)} = {RawStream()(other)}")


def _joined(part: Any, tables: Tables) -> list[Any]:
    """Return the conditions of a FROM's part; its tables are noted by alias."""
    if isinstance(part, ast.JoinExpr):
        own = [] if part.quals is None else [part.quals]
        return own + _joined(part.larg, tables) + _joined(part.rarg, tables)
    named = getattr(part, "alias", None)
    relation = getattr(part, "relname", "")
    tables[named.aliasname if named else relation] = relation
    return []


def _compared(condition: Any) -> list[tuple[Any, Any]]:
    """Return (column, other side) of the equalities of a condition, without its subqueries'."""
    found: list[tuple[Any, Any]] = []

    class Equalities(Visitor):
        def visit_SubLink(self, _: Any, node: Any) -> type[Skip]:  # noqa: N802
            return Skip

        def visit_A_Expr(self, _: Any, node: Any) -> None:  # noqa: N802
            if node.name and node.name[-1].sval == "=":
                for side, other in ((node.lexpr, node.rexpr), (node.rexpr, node.lexpr)):
                    if isinstance(side, ast.ColumnRef) and isinstance(other, ast.Node):
                        found.append((side, other))

    Equalities()(condition)
    return found


def _wrapped(expression: Any) -> set[str]:
    """Return the aliases of columns that a function, an operator or a cast wraps."""
    found: set[str] = set()

    class Wraps(Visitor):
        def visit_SubLink(self, _: Any, node: Any) -> type[Skip]:  # noqa: N802
            return Skip

        def visit_ColumnRef(self, path: Any, node: Any) -> None:  # noqa: N802
            found.add(_alias(node))

    if not isinstance(expression, ast.ColumnRef):
        Wraps()(expression)
    return found


def _alias(column: Any) -> str:
    return str(column.fields[0].sval) if len(column.fields) > 1 else ""


def _name(column: Any) -> str:
    return str(getattr(column.fields[-1], "sval", "*"))

"""SQL files of the tree, read by Postgres' own parser and held to the rules of Python code.

Syntax of every statement and of every function's body, one object per file named as the file,
sizes, no recursion, rows built by named columns only, no call of what is only kept for the release
before, keys that an index finds; reserved words in capitals, lines of a hundred columns. Part of
`make lint`.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pglast import ast
from pglast.parser import ParseError, parse_plpgsql_json, parse_sql, scan

from billing.core.database import metadata
from devstack.options import ROOT
from migrations import draft, sql
from tests.sql_unindexed import unindexed

MAX_LINES: Final = 70
MAX_PARAMETERS: Final = 8
MAX_COLUMNS: Final = 100
INPUTS: Final = {"FUNC_PARAM_IN", "FUNC_PARAM_INOUT", "FUNC_PARAM_VARIADIC", "FUNC_PARAM_DEFAULT"}
OWN: Final = ("credit_", "usage_", "quota_", "budget_", "public_", "account_")
CUSTOM_PLAN: Final = "SET plan_cache_mode = force_custom_plan"
MONTHS: Final = r"\bmonth = ANY \((ARRAY\[|\w+\(|\w+)"
"""Only a list of its elements prunes partitions by a kept plan: no variable, no other function."""
LITERALS: Final = {"TRUE", "FALSE", "ON"}  # written small, as values are


@dataclass(frozen=True)
class Token:
    """One word of a text, as Postgres' lexer cuts it."""

    name: str
    kind: str
    word: str


@dataclass(frozen=True)
class Function:
    """One function as its CREATE statement describes it."""

    name: str
    body: str
    language: str
    parameters: int
    lines: int


def problems() -> list[str]:
    """Problems of the tree's files, each in one line."""
    found = []
    graph: dict[str, set[str]] = {}
    for path in sql.files():
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}: {problem}" for problem in _problems(path, graph)]
    return found + [f"{' -> '.join(circle)}: recursion" for circle in _circles(graph)]


def _problems(path: Path, graph: dict[str, set[str]]) -> Iterator[str]:
    text = path.read_text()
    yield from _layout(text)
    try:
        statements = [raw.stmt for raw in parse_sql(text)]
    except ParseError as error:
        yield str(error)
        return
    yield from _contents(path, statements)
    yield from _words(_tokens(text))
    for written, statement in zip(sql.statements(text), statements, strict=True):
        if not isinstance(statement, ast.CreateFunctionStmt):
            continue
        function = _function(statement, written)
        graph[function.name] = set(_calls(function.body))
        yield from _function_problems(function, written)


def _layout(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_COLUMNS:
            yield f"line {number} is longer than {MAX_COLUMNS} columns"
        if line != line.rstrip() or "\t" in line:
            yield f"line {number} has a tab or space that nobody sees"


def _contents(path: Path, statements: list[Any]) -> Iterator[str]:
    """One function or view, named as its file; types stand together."""
    if re.search(r"\d", path.stem.removesuffix("_v2")):
        yield "a number in its name: functions load in any order"
    kinds = [type(statement).__name__ for statement in statements]
    if path.name == "types.sql":
        wanted = ["CompositeTypeStmt"] * len(kinds)
    elif path.parent.name == "views":
        wanted = ["ViewStmt"]
    else:
        wanted = ["CreateFunctionStmt", *(["CreateTrigStmt"] * (len(kinds) - 1))]
    if kinds != wanted:
        yield f"it holds {kinds}, not one object"
    first = statements[0]
    if kinds[0] == "CreateFunctionStmt" and first.funcname[-1].sval != path.stem:
        yield f"it holds {first.funcname[-1].sval}"
    if kinds[0] == "ViewStmt" and first.view.relname != path.stem:
        yield f"it holds {first.view.relname}"


def _function(statement: Any, written: str) -> Function:
    options = {option.defname: option.arg for option in statement.options}
    return Function(
        name=statement.funcname[-1].sval,
        body=options["as"][0].sval,
        language=options["language"].sval,
        parameters=sum(one.mode.name in INPUTS for one in statement.parameters or ()),
        lines=len(written.splitlines()),
    )


def _function_problems(function: Function, written: str) -> Iterator[str]:
    if function.lines > MAX_LINES:
        yield f"{function.lines} lines, more than {MAX_LINES}"
    if function.parameters > MAX_PARAMETERS:
        yield f"{function.parameters} parameters, more than {MAX_PARAMETERS}"
    for called in sorted(set(_calls(function.body)) - _current() - _tables()):
        if called in _released():
            yield f"it calls {called}, which is kept only for the release before"
        elif called.startswith(OWN):
            yield f"it calls {called}, which nobody has written"
    yield from _plan_problems(function, written)
    try:
        if function.language == "plpgsql":
            parse_plpgsql_json(_without_own_arrays(written))
        else:
            parse_sql(function.body)
    except ParseError as error:
        yield f"its body: {error}"
        return
    text = _without_own_arrays(written)
    for condition in unindexed(text, function.body, function.language, _tenants()):
        yield f"no index serves {condition} under row-level security"
    tokens = _tokens(function.body)
    yield from _words(tokens)
    yield from _positional(tokens)


def _plan_problems(function: Function, written: str) -> Iterator[str]:
    """Plans that are kept and fit no month, and those that are made anew in vain."""
    months = set(re.findall(MONTHS, function.body)) - {"ARRAY[", "usage_record_months("}
    if (months or "usage_months_of" in _calls(function.body)) and CUSTOM_PLAN not in written:
        yield f"it asks for months of ids without {CUSTOM_PLAN}: for each row, of all partitions"
    if "LOOP" in function.body and CUSTOM_PLAN in written:
        yield f"it has a loop and {CUSTOM_PLAN}: what it calls is planned anew in each round"


def _words(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        small = token.kind == "RESERVED_KEYWORD" and not token.word.isupper()
        if small and token.word.upper() not in LITERALS:
            yield f"{token.word} is written small"


def _positional(tokens: list[Token]) -> Iterator[str]:
    """Rows that break when a table gets one more column."""
    words = [token.word for token in tokens]
    for place, word in enumerate(words):
        before, after = words[max(place - 2, 0) : place], words[place + 1 : place + 2]
        if word == "*" and before[-1:] == ["SELECT"]:
            yield "SELECT *: name the columns"
        if word == "::" and after and after[0] in _tables():
            yield f"a row is cast to {after[0]}: name the columns"
        if before == ["INSERT", "INTO"] and after[:1] not in (["("], ["AS"]):
            yield f"INSERT INTO {word} names no columns"


def _calls(body: str) -> Iterator[str]:
    tokens = _tokens(body)
    for token, after in pairwise(tokens):
        if token.name == "IDENT" and after.word == "(":
            yield token.word


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Functions that call each other round and round, each circle from its first name."""

    def reach(path: list[str]) -> Iterator[list[str]]:
        for called in sorted(graph.get(path[-1], set())):
            if called == path[0]:
                yield [*path, called]
            elif called > path[0] and called not in path:
                yield from reach([*path, called])

    return [circle for name in sorted(graph) for circle in reach([name])]


def _tokens(text: str) -> list[Token]:
    return [
        Token(one.name, one.kind, text[one.start : one.end + 1])
        for one in scan(text)
        if not one.name.endswith("COMMENT")
    ]


def _without_own_arrays(text: str) -> str:
    """The parser has no catalog: it takes an array of a type it does not know for a mistake."""
    return re.sub(rf"\b(?:{'|'.join(sorted(_own_types()))})\[\]", "text[]", text)


@cache
def _tables() -> frozenset[str]:
    draft.load_tables()
    return frozenset(metadata.tables)


@cache
def _tenants() -> frozenset[str]:
    draft.load_tables()
    return frozenset(name for name, table in metadata.tables.items() if "account_id" in table.c)


@cache
def _own_types() -> frozenset[str]:
    made = re.findall(r"CREATE TYPE (\w+)", sql.tree())
    return frozenset(made) | _tables()


@cache
def _current() -> frozenset[str]:
    return frozenset(re.findall(r"^CREATE OR REPLACE FUNCTION (\w+)", sql.tree(), re.MULTILINE))


@cache
def _released() -> frozenset[str]:
    made = re.findall(r"^CREATE OR REPLACE FUNCTION (\w+)", draft.frozen_text(), re.MULTILINE)
    return frozenset(made)


if __name__ == "__main__":
    if wrong := problems():
        sys.exit("\n".join(wrong))

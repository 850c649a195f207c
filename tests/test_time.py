"""Every account has one time, its own clock's or real time, and one place reckons it.

A statement is given the real time by its caller. SQL functions of the hot path, which answer in one
round trip, ask the database for it: they are listed, each with its reason.
"""

import ast
import re
from pathlib import Path
from typing import Final

from devstack.options import ROOT
from tests.test_architecture import name, python_files, tracked

CLOCK_READERS: Final = {
    "billing/core/clock.py": "the one source of time",
    "cli/tokens.py": "a development token expires in real time",
}
"""Files that may ask the operating system for the time."""
CLOCK_CALLS: Final = re.compile(
    r"\b(datetime\.(now|utcnow|today)|date\.today|time\.(time|time_ns))\("
)
OWN_TIMES: Final = {
    "budget_count_captures": "captures of one statement are of many accounts",
    "credit_lock": "tells the account's time with its lock, unless the caller has one",
    "usage_agreed_limits": "the limits are read after the lock, by the time of then",
    "usage_lost_to_banks": "a year ago, within what the lock's holder may still owe",
}
"""SQL functions that reckon the own time of an account, where it has no clock by the database's."""
REAL_TIMES: Final = {
    "account_watch": "when a matter was woken",
    "credit_capture_fast": "the real time beside a row's own",
    "credit_debit_apart_fast": "the real time beside a row's own",
    "credit_debit_fast": "the real time beside a row's own",
    "credit_debit_write": "the real time beside a row's own",
    "credit_hold_fast_v2": "given to credit_hold_fit_v2, beside the clocks of many accounts",
    "credit_notify_low": "a balance that was never moved has no time of its own",
    "credit_post": "the real time beside a row's own",
    "credit_publish_all": "the real time beside an event's own",
    "credit_return_write": "the real time beside a row's own",
    "usage_claims_may_differ": "the months of partitions are of real time",
    "usage_make_months": "the months of partitions are of real time",
    "usage_months_looked_at": "the months of partitions are of real time",
    "usage_notify_thresholds": "the real time beside an event's own",
    "usage_open_accounts": "given to usage_read_accounts, beside the clocks of many accounts",
    "usage_publish_records": "the real time beside an event's own",
    "usage_terms_that_end": "orders uses of the same instant",
    "usage_threshold": "when a matter was woken",
}
"""SQL functions that ask the database for the real time itself."""
_DAY_OR_TRANSACTION: Final = re.compile(
    r"\b(now\(\)|CURRENT_DATE|CURRENT_TIMESTAMP|LOCALTIMESTAMP)", re.IGNORECASE
)
_CLOCK_OR_FUNCTION: Final = re.compile(
    r"\bcoalesce\([^,]*\bclock_at\b[^,]*,\s*(?!CAST\(:)[a-z_]+\(", re.IGNORECASE
)


def test_only_the_clock_asks_what_time_it_is() -> None:
    readers = {
        name(path)
        for path in python_files(product_only=True)
        if not name(path).startswith(("sandbox/", "benchmarks/"))  # programs with a time of theirs
        and CLOCK_CALLS.search(path.read_text())
    }
    assert readers == CLOCK_READERS.keys() & {name(path) for path in python_files()}


def test_an_account_has_its_time_by_one_rule() -> None:
    found = {
        name(path)
        for path in python_files(product_only=True)
        if any(map(reckons_own_time, ast.walk(ast.parse(path.read_text()))))
    }
    assert found == {"billing/core/clock.py", "workflows/matter.py"}  # a run has Temporal's time


def reckons_own_time(node: ast.AST) -> bool:
    """True for an expression that has another time where an account has no clock."""
    match node:
        case ast.BoolOp(op=ast.Or(), values=[first, *_]):
            return is_a_clock(first)
        case ast.IfExp(test=test, body=body):
            return is_a_clock(body) and "clock_at" in ast.unparse(test)
        case _:
            return False


def is_a_clock(node: ast.AST) -> bool:
    """True for a variable, an attribute or an item with the time of an account's clock."""
    return ast.unparse(node).endswith(("clock_at", "clock_at']"))


def test_a_statement_is_given_the_time_of_accounts_without_a_clock() -> None:
    wrong = {
        f"{name(path)}:{node.lineno}"
        for path in python_files(product_only=True)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _CLOCK_OR_FUNCTION.search(node.value)
    }
    assert wrong == set()


def test_sql_takes_business_dates_from_its_caller() -> None:
    files = [path for path in tracked() if path.suffix == ".sql"]
    assert [name(path) for path in files if asks(path, _DAY_OR_TRANSACTION)] == []
    assert functions(r"\b(statement|transaction)_timestamp\(") == {"usage_make_months"}
    assert functions(r"\bclock_timestamp\(") == REAL_TIMES.keys() | OWN_TIMES.keys()
    assert functions(r"\bclock_at\b[^;]{0,60},\s*clock_timestamp\(") == OWN_TIMES.keys()


def functions(asked: str) -> set[str]:
    """The SQL functions whose bodies match."""
    return {p.stem for p in (ROOT / "billing").rglob("*.sql") if asks(p, re.compile(asked))}


def asks(path: Path, asked: re.Pattern[str]) -> bool:
    """True if an SQL file matches outside of its comments."""
    return asked.search(re.sub(r"--.*", "", path.read_text())) is not None

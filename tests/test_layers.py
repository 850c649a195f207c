"""Order inside `billing/` where imports do not show it: the tables and functions that SQL names.

import-linter holds the imports; a statement in a text may still look above its own layer. Every
one that does is listed here with its reason, and the lists only get shorter. A function that a
layer below calls stands with the noun whose tables it names: below, nobody knows these tables.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from devstack.options import ROOT
from migrations import sql

BILLING: Final = ROOT / "billing"
LOOKS_UP: Final = {
    ("core", "accounts"): "a transaction asks for the account's clock",
    ("matters", "accounts"): "sweeps leave out the matters of accounts with a clock",
    ("platform/outbox", "credit_balances"): "events are numbered under the account's lock",
    ("ledger/credits", "subscriptions"): "an overview shows the plan's credits, in one statement",
    ("ledger/credits", "subscription_items"): "and those of its seats",
}
"""(package, table of a layer above it): why."""
CALLS_UP: Final = {
    ("ledger/credits", "credit_request_top_up"): "a debit or hold below the threshold asks for one",
    ("ledger/credits", "usage_settle_soon"): "credits that come pay uses that were put off",
    ("ledger/credits", "usage_settle_freed"): "so do those that a capture leaves of its hold",
    ("ledger/credits", "budget_count_captures"): "what a capture spends counts on a budget",
    ("metering/usage", "usage_plan_period"): "a period of usage follows the subscription's",
    ("metering/usage", "usage_terms_known_until"): "so do the terms that are known of later ones",
    ("metering/usage", "usage_unpaid"): "what may stay unpaid is the subscription's plan's to say",
    ("metering/usage", "usage_overdue"): "an overdue invoice bounds what may stay unpaid",
    ("metering/usage", "usage_note_late"): "late use of an ended subscription gets an invoice",
    ("metering/usage", "usage_promised"): "what was claimed on a plan is paid for after its end",
    ("metering/usage", "usage_threshold"): "use beyond the plan can be due for an early invoice",
}
"""(package, SQL function of a layer above it): why."""

_TABLE: Final = re.compile(r'= c\.table\(\s*"(\w+)"')
_NAMED: Final = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)")
_CALLED: Final = re.compile(r"\b(\w+)\(")


def layers() -> list[str]:
    """From the lowest up, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found = [one["layers"] for one in contracts["contracts"] if one["type"] == "layers"]
    assert len(found) == 1
    return list(reversed(found[0]))


def owners() -> dict[str, str]:
    """The layer of each table."""
    return {
        table: path.relative_to(BILLING).parts[0]
        for path in BILLING.rglob("tables.py")
        for table in _TABLE.findall(path.read_text())
    }


def functions() -> dict[str, str]:
    """The layer of each SQL function."""
    return {
        path.stem: path.relative_to(BILLING).parts[0]
        for path in sql.files()
        if path.parent.name != "views" and path.name != "types.sql"
    }


def upward(
    owner: Mapping[str, str], names: Callable[[Path], Iterable[str]]
) -> Iterator[tuple[str, str]]:
    """Every (package, name) where a file names something that a layer above owns."""
    order = layers()
    for path in sorted(BILLING.rglob("*")):
        if path.suffix not in (".py", ".sql") or path.name == "tables.py":
            continue
        layer = path.relative_to(BILLING).parts[0]
        for name in names(path):
            if name in owner and order.index(owner[name]) > order.index(layer):
                yield package(path), name


def tables(path: Path) -> Iterator[str]:
    """The names that stand where SQL has a table, and texts that may be one: `table("accounts")`,
    or a set of names.
    """
    text = path.read_text()
    yield from _NAMED.findall(re.sub(r"--.*", "", text))
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def calls(path: Path) -> list[str]:
    """The names of functions that a file calls."""
    return _CALLED.findall(re.sub(r"--.*", "", path.read_text()))


def package(path: Path) -> str:
    """`metering/usage`, for a file anywhere in it; `core` is one package."""
    inside = path.relative_to(BILLING).parts[:-1]
    return "/".join(inside[:1] if inside[0] in ("core", "matters") else inside[:2])


def test_the_tables_and_functions_of_every_package_are_known() -> None:
    assert {"accounts", "subscriptions", "credit_balances", "matters"} <= owners().keys()
    assert {"usage_record", "credit_debit_many", "account_watch"} <= functions().keys()


def test_sql_looks_above_its_layer_only_where_it_says_why() -> None:
    assert set(upward(owners(), tables)) == LOOKS_UP.keys()
    assert set(upward(functions(), calls)) == CALLS_UP.keys()

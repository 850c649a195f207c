"""Each action of the audit and each type of event is named by a test, in whole.

A module that writes the audit names its actions in whole, too: a search finds where one is written.
What is announced is an action and a type of event at once.
"""

import ast
import re
from collections.abc import Iterator
from typing import Final

from billing.platform.outbox.kinds import KINDS, PREFIX
from tests.test_architecture import name, python_files

WRITER: Final = "from billing.platform.audit import service"
ACTION: Final = re.compile(r"[a-z_]+\.[a-z_]+")
NAMED: Final = re.compile(rf"(?:{re.escape(PREFIX)})?({ACTION.pattern})")
OTHERS: Final = frozenset({"failpoint", "getLogger", "defn"})
"""Functions that take names of the same form."""


def writers() -> Iterator[ast.Module]:
    for path in python_files(product_only=True):
        source = path.read_text()
        if WRITER in source:
            yield ast.parse(source)


def texts(tree: ast.AST) -> Iterator[str]:
    """The texts of a module, without the names that other functions take."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif not (isinstance(node, ast.Call) and called(node) in OTHERS):
            yield from texts(node)


def called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def test_each_action_and_each_type_of_event_is_named_by_a_test() -> None:
    actions = {text for tree in writers() for text in texts(tree) if ACTION.fullmatch(text)}
    types = {kind.removeprefix(PREFIX) for kind in KINDS}
    tests = (path for path in python_files() if name(path).startswith("tests/"))
    named = {
        found
        for path in tests
        for text in texts(ast.parse(path.read_text()))
        for found in NAMED.findall(text)
    }
    assert len(actions) > 30
    assert (actions | types) - named == set()


def test_no_action_of_the_audit_is_put_together() -> None:
    written = (
        one.value
        for tree in writers()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) == "record"
        for one in node.keywords
        if one.arg == "action"
    )
    assert not [ast.unparse(one) for one in written if isinstance(one, ast.JoinedStr)]

"""No query asks for a range of texts: what lies between two depends on the database's locale.

What begins with a text is asked by `starts_with` or LIKE, which read the same index. A page may go
on after a text, because one database orders and compares alike.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.test_architecture import name, python_files, tracked

# A literal of another type says so: '2027-01-01'::date, CAST('2027-01-01' AS date).
BOUND: Final = re.compile(r"\w (?:[<>]=?|BETWEEN) '[^'\n]*'(?!::)")


def ranges(path: Path) -> Iterator[int]:
    """Lines that compare with a text by order."""
    text = path.read_text()
    for found in BOUND.finditer(text):
        yield text.count("\n", 0, found.start()) + 1
    if path.suffix == ".py" and "sqlalchemy" in text:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Compare) and is_range(node):
                yield node.lineno


def is_range(node: ast.Compare) -> bool:
    ordered = any(isinstance(one, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for one in node.ops)
    return ordered and any(
        isinstance(one, ast.JoinedStr)
        or (isinstance(one, ast.Constant) and isinstance(one.value, str))
        for one in (node.left, *node.comparators)
    )


def test_no_query_asks_for_a_range_of_texts(tmp_path: Path) -> None:
    files = [path for path in tracked() if path.suffix == ".sql" and "versions" not in path.parts]
    files += python_files(product_only=True)
    assert [f"{name(path)}:{line}" for path in files for line in ranges(path)] == []

    for number, wrong in enumerate(("WHERE owner >= 'u:'", "owner BETWEEN 'u:' AND 'u;'")):
        (path := tmp_path / f"{number}.sql").write_text(wrong)
        assert list(ranges(path)) == [1]
    (path := tmp_path / "one.py").write_text('import sqlalchemy\ncounter.owner < f"{prefix[0]};"')
    assert list(ranges(path)) == [2]
    (path := tmp_path / "fine.sql").write_text("a ->> 'x' = '1' AND b > '2027-01-01'::date")
    assert list(ranges(path)) == []

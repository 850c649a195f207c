"""The SQL functions, types and views of the tree, and the order in which they load.

One definition each, in `billing/**/sql/`: `types.sql` first, then one file per function, named as
the function (in folders where there are many), then `views/`. Functions may call each other in any
order: bodies are checked when they run (`check_function_bodies = off`) and by a test.
"""

import re
from pathlib import Path
from typing import Final

BILLING: Final = Path(__file__).parent.parent / "billing"
PREAMBLE: Final = "SET LOCAL check_function_bodies = off;\n"
_STATEMENT: Final = re.compile(r"^(?=CREATE )", re.MULTILINE)
_COMMENTS_BEHIND: Final = re.compile(r"(\n--.*|\n)*\Z")


def files() -> list[Path]:
    """Return every SQL file of the tree, in the order of loading."""
    found = BILLING.rglob("sql/**/*.sql")
    return sorted(found, key=lambda path: (_rank(path), _package(path), path.name))


def statements(text: str) -> list[str]:
    """Return the CREATE statements of a file, without the comments around them."""
    return [_COMMENTS_BEHIND.sub("", part) for part in _STATEMENT.split(text)[1:]]


def tree() -> str:
    """Return everything as one script for a database that has the tables."""
    return PREAMBLE + "".join(path.read_text() for path in files())


def _package(path: Path) -> str:
    """Return a file's package; folders below `sql/` do not change the order."""
    return path.relative_to(BILLING).as_posix().partition("/sql/")[0]


def _rank(path: Path) -> int:
    if path.name == "types.sql":
        return 0
    return 2 if path.parent.name == "views" else 1

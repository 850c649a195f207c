"""The SQL functions, types and views of the tree: where they are, and in which order they load.

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
    """Every SQL file of the tree, in the order of loading."""
    found = BILLING.rglob("sql/**/*.sql")
    return sorted(found, key=lambda path: (_rank(path), _package(path), path.name))


def statements(text: str) -> list[str]:
    """The CREATE statements of a file, each without the comments around it."""
    return [_COMMENTS_BEHIND.sub("", part) for part in _STATEMENT.split(text)[1:]]


def tree() -> str:
    """Everything, as a script for a database that has the tables."""
    return PREAMBLE + "".join(path.read_text() for path in files())


def _package(path: Path) -> str:
    """A file's folder below `sql/` is for its readers: it does not change the order."""
    return path.relative_to(BILLING).as_posix().partition("/sql/")[0]


def _rank(path: Path) -> int:
    if path.name == "types.sql":
        return 0
    return 2 if path.parent.name == "views" else 1

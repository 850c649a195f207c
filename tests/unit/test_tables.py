"""A table of a command is whole, wherever it is printed."""

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from cli.pages import show_table

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PLACE = f"away: /srv/archive/2026-01.parquet, written 2026-03-10 04:00 UTC, sha256 {DIGEST}"
ROWS = [("2026-01", "1,204,311", "88.1 MB", PLACE), ("2026-02", "about 9", "0.1 MB", "here")]


def shown(width: int, *, terminal: bool) -> list[str]:
    console = Console(file=StringIO(), width=width, force_terminal=terminal, color_system=None)
    show_table(console, ROWS)
    file = console.file
    assert isinstance(file, StringIO)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_where_no_terminal_is_each_row_is_one_line(width: int) -> None:
    first, second = shown(width, terminal=False)
    assert first.split("  ") == list(ROWS[0])
    assert second.split() == ["2026-02", "about", "9", "0.1", "MB", "here"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_on_a_terminal_a_long_word_goes_on_in_the_next_line(width: int) -> None:
    lines = shown(width, terminal=True)
    assert max(map(len, lines)) <= width
    assert DIGEST in "".join("".join(lines).split())


def test_words_are_no_markup() -> None:
    console = Console(file=StringIO(), width=80, color_system=None)
    show_table(console, [("disk [/srv/a]", "[red]full[/]", Text("seen", "dim"))])
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().split("  ") == ["disk [/srv/a]", "[red]full[/]", "seen\n"]

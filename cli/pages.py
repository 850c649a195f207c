"""Pages and tables that a command prints, also into a file or a pipe."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_ENDLESS: Final = 1_000_000


def show(page: str) -> None:
    """Print a page as it is: no line is cut, and no word is taken for markup."""
    Console(soft_wrap=True).print(page, end="", markup=False, highlight=False)


def show_table(console: Console, rows: Iterable[Sequence[str | Text]]) -> None:
    """Print rows with their columns aligned; a text has its own style, and no word is taken for
    markup. No word is cut, and no line is broken where no terminal is: the width is then nobody's.
    """
    table = Table.grid(padding=(0, 2))
    for row in rows:
        while len(table.columns) < len(row):
            table.add_column(overflow="fold")
        table.add_row(*(Text(one) if isinstance(one, str) else one for one in row))
    if not console.is_terminal:
        room = console.options.update_width(_ENDLESS)
        table.width = Measurement.get(console, room, table).maximum
    console.print(table, soft_wrap=True)

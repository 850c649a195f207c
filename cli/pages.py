"""Pages that a command prints, to be kept in a file."""

from rich.console import Console


def show(page: str) -> None:
    """Print a page as it is: no line is cut, and no word is taken for markup."""
    Console(soft_wrap=True).print(page, end="", markup=False, highlight=False)

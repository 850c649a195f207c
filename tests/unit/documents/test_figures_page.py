"""docs/figures.md names every figure that the benches measure, with its bar; README has some."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from devstack.options import ROOT

ROW = re.compile(r"^\| (`[^|]+`) \|.*\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def shown(page: str) -> dict[str, float]:
    """Name and bar of each figure on a page."""
    found: dict[str, float] = {}
    for names, _, bars in ROW.findall((ROOT / page).read_text()):
        each, numbers = re.findall(r"`(\w+)`", names), [float(n) for n in NUMBER.findall(bars)]
        # The last bar may stand for all names that are left.
        numbers += numbers[-1:] * (len(each) - len(numbers))
        found.update(zip(each, numbers, strict=True))
    return found


def measured() -> Iterator[tuple[str, str]]:
    """Name and bar of each figure in the code: `add(name, samples, unit, bar, …)`, or a row of a
    table of them, (name, over, under, bar, stretch).
    """
    for path in sorted(Path(ROOT, "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            args = node.args if isinstance(node, ast.Call) else getattr(node, "elts", [])
            if len(args) < 5 or not isinstance(args[3], ast.Constant):
                continue
            bar = f"{args[3].value:g}" if isinstance(args[3].value, int | float) else ""
            if isinstance(args[0], ast.Constant) and isinstance(args[0].value, str) and bar:
                yield args[0].value, bar


def test_the_page_of_figures_names_what_the_benches_measure() -> None:
    page, code = shown("docs/figures.md"), dict(measured())
    assert len(code) > 25, "the benches were not read"
    missing = code.keys() - page.keys()
    assert not missing, f"docs/figures.md lacks {sorted(missing)}"
    wrong = {name: (page[name], bar) for name, bar in code.items() if page[name] != float(bar)}
    assert not wrong, f"docs/figures.md has other bars than the benches: {wrong}"


def test_the_table_of_the_readme_shows_figures_of_the_page_with_their_bars() -> None:
    readme, page = shown("README.md"), shown("docs/figures.md")
    section = (ROOT / "README.md").read_text().partition("## Measured")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10, "the table was not read"
    assert [row for row in rows if not ROW.fullmatch(row)] == [], "each row names its figures"
    wrong = {name: (bar, page.get(name)) for name, bar in readme.items() if page.get(name) != bar}
    assert not wrong, f"README.md has other figures or bars than docs/figures.md: {wrong}"


def test_the_readme_shows_what_the_page_says_was_seen() -> None:
    on_page = {
        names: seen for names, seen, _ in ROW.findall((ROOT / "docs/figures.md").read_text())
    }
    for names, seen, _ in ROW.findall((ROOT / "README.md").read_text()):
        row = next(found for known, found in on_page.items() if names.split(", ")[0] in known)
        assert set(NUMBER.findall(seen)) <= set(NUMBER.findall(row)), names

"""docs/figures.md names every figure that the benches measure, with its bar."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from devstack.options import ROOT

ROW = re.compile(r"^\| (`[^|]+`) \|.*\| ([^|]+) \|$", re.MULTILINE)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def shown() -> dict[str, str]:
    """Name and bar of each figure on the page."""
    found: dict[str, str] = {}
    for names, bars in ROW.findall((ROOT / "docs" / "figures.md").read_text()):
        each, numbers = re.findall(r"`(\w+)`", names), NUMBER.findall(bars)
        # One bar may stand for all names of a row.
        numbers = numbers if len(numbers) == len(each) else numbers * len(each)
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
    page, code = shown(), dict(measured())
    assert len(code) > 25, "the benches were not read"
    missing = code.keys() - page.keys()
    assert not missing, f"docs/figures.md lacks {sorted(missing)}"
    wrong = {
        name: (page[name], bar) for name, bar in code.items() if float(page[name]) != float(bar)
    }
    assert not wrong, f"docs/figures.md has other bars than the benches: {wrong}"

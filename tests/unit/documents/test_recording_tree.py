"""The page on the architecture has the tree of the functions that record uses, as it is."""

import re
from typing import Final

from devstack.options import ROOT

_PAGE: Final = (ROOT / "docs" / "architecture.md").read_text()
_SQL: Final = {
    path.stem: path.read_text()
    for path in (ROOT / "billing" / "metering" / "usage" / "sql").rglob("*.sql")
}
_SUBSCRIPTIONS: Final = ROOT / "billing" / "money" / "subscriptions"


def test_each_function_of_the_tree_calls_those_below_it() -> None:
    block = re.search(r"```\n( +usage_record_where_free.*?)```", _PAGE, re.DOTALL)
    assert block
    lines = block[1].rstrip().splitlines()
    assert len(lines) >= 8
    above: dict[int, list[str]] = {}
    for line in lines:
        depth, (first, *others) = len(line) - len(line.lstrip()), re.findall(r"usage_\w+", line)
        is_level = "|" in line
        callers = above[max(known for known in above if known < depth)] if above else []
        for caller in callers:
            assert f"{first}(" in _SQL[caller], f"{caller}: {first}"
        for called in [] if is_level else others:
            assert f"{called}(" in _SQL[first], f"{first}: {called}"
        above = {known: names for known, names in above.items() if known < depth}
        above[depth] = [first, *others] if is_level else [first]


def test_the_table_of_places_names_files_of_the_subscriptions() -> None:
    _, _, table = _PAGE.partition("| to find | look in |")
    rows = re.findall(r"`money/subscriptions/(\w+)/`(.*)", table)
    assert len(rows) >= 5
    for folder, text in rows:
        named = re.findall(r"`(\w+\.py)`", text)
        assert named
        assert [name for name in named if not (_SUBSCRIPTIONS / folder / name).is_file()] == []

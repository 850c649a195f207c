"""A public class name means one class, so that a search finds the right one."""

import ast
from collections import defaultdict
from typing import Final

from tests.test_architecture import name, python_files

PROGRAM: Final = ("billing/", "api/", "activities/", "workflows/", "gateways/", "cli/")
"""The stand-in, the benches and the client are programs of their own, with names of their own."""
STILL: Final = 28
"""Names that still mean several classes: never more, in the end 0. `Call` and `Answer` stand in the
glossary with both meanings.
"""


def test_few_names_mean_several_classes_and_none_within_one_package() -> None:
    files = defaultdict[str, list[str]](list)
    for path in python_files(product_only=True):
        for node in ast.walk(ast.parse(path.read_text())) if name(path).startswith(PROGRAM) else ():
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files[node.name].append(name(path))
    several = {one: found for one, found in files.items() if len(found) > 1}
    folders = {one: [path.rpartition("/")[0] for path in found] for one, found in several.items()}
    assert {one for one, found in folders.items() if len({*found}) < len(found)} == set()
    assert len(several) <= STILL, several

"""The page of the catalog is the code's own, and its example is a catalog."""

import re
from typing import Final

from billing.catalog.plans import loader
from billing.catalog.plans.spec import CatalogSpec
from cli.catalog_table import HEADING, render
from devstack.options import ROOT

PAGE: Final = (ROOT / "docs" / "catalog.md").read_text()


def test_the_table_of_fields_is_the_models_own() -> None:
    _, heading, rest = PAGE.partition(HEADING)
    assert heading + rest == render(), (
        f"put what `billing catalog fields` prints in the place of {HEADING!r} of docs/catalog.md"
    )


def test_every_section_and_every_field_has_its_line() -> None:
    schema = CatalogSpec.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for field in model["properties"]:
            assert f"\n| `{field}` | " in PAGE, f"{model['title']}.{field}"


def test_the_example_of_the_page_is_a_catalog_with_every_section() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    read = loader.parse(example)
    assert read.model_fields_set == CatalogSpec.model_fields.keys()
    assert read.default_key == "free"
    assert read.plans["team"].prices["month"]["EUR"].amount_minor == 1900

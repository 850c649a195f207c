"""The client is a wheel of its own: built from its folder, it works where nothing else of us is."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from devstack.options import ROOT

CLIENT = ROOT / "clients" / "python"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
EVERY_MODULE = """
import importlib, pkgutil, sys
import durable_billing
from durable_billing.client import BillingClient
for found in pkgutil.walk_packages(durable_billing.__path__, "durable_billing."):
    importlib.import_module(found.name)
with BillingClient("http://billing.test", "token", spool=sys.argv[1]) as billing:
    billing.record(1, product_id="gpt-4")
    print(billing.status().waiting)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        CLIENT,
        folder / "source",
        ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "tests"),
    )
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), f"{folder}/source")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and what the wheel says it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    run(*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    asked = run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    for needed in needs("durable-billing-client"):
        copy(needed, Path(asked.strip()))
    return python


def needs(name: str, seen: set[str] | None = None) -> Iterator[Distribution]:
    """Packages that an installed one needs to run, theirs included; extras aside."""
    seen = set() if seen is None else seen
    for text in distribution(name).requires or ():
        requirement = Requirement(text)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in seen:
            seen.add(requirement.name)
            yield distribution(requirement.name)
            yield from needs(requirement.name, seen)


def copy(needed: Distribution, target: Path) -> None:
    """Install a package as it is installed here, so that no registry is asked."""
    here = Path(sysconfig.get_path("purelib")).resolve()
    for file in needed.files or ():
        source = Path(str(needed.locate_file(file))).resolve()
        if source.is_file() and source.is_relative_to(here):
            goal = target / source.relative_to(here)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, goal)


def run(*command: str) -> str:
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_is_typed_and_names_its_license(wheel: Path) -> None:
    inside = zipfile.ZipFile(wheel)
    names = inside.namelist()
    assert "durable_billing/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "durable_billing", "durable_billing_client",
    }  # fmt: skip
    metadata = inside.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert "License-Expression: Apache-2.0" in metadata
    text = inside.read(next(name for name in names if name.endswith("licenses/LICENSE")))
    assert text == (ROOT / "LICENSE").read_bytes()


def test_what_it_says_it_needs_is_all_it_needs(python: Path) -> None:
    run(*PIP, "--python", str(python), "check")


def test_it_records_a_use_alone(python: Path, tmp_path: Path) -> None:
    assert run(str(python), "-I", "-c", EVERY_MODULE, str(tmp_path / "spool.db")) == "1\n"


def test_nothing_of_the_server_comes_with_it(python: Path) -> None:
    run(
        str(python),
        "-I",
        "-c",
        "from importlib.util import find_spec as f; assert not f('billing')",
    )

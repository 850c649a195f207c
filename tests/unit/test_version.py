"""One version: of the package, the client, the API, the command and the changelog."""

import json
import re
import tomllib

from typer.testing import CliRunner

from billing.core.settings import VERSION
from cli.__main__ import app
from devstack.options import ROOT
from tests.api_document import DOCUMENT


def of_project(file: str) -> str:
    return str(tomllib.loads((ROOT / file).read_text())["project"]["version"])


def test_package_and_client_have_one_version() -> None:
    assert of_project("pyproject.toml") == of_project("clients/python/pyproject.toml") == VERSION
    package = json.loads((ROOT / "clients/typescript/package.json").read_text())
    assert package["version"] == VERSION


def test_the_api_document_has_it() -> None:
    assert DOCUMENT["info"]["version"] == VERSION


def test_the_command_prints_it() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"{VERSION}\n")


def test_the_changelog_tells_of_it() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert titles[1] == VERSION

"""The TypeScript client's types are those of the API as it is; npm alone keeps no host names."""

import copy
import json
import re

from devstack.options import ROOT
from tests.api_document import DOCUMENT
from tests.typescript_client import CLIENT, SCHEMA, mark, types_alone


def test_the_types_are_made_from_the_document_as_it_is() -> None:
    with SCHEMA.open() as file:
        assert file.readline() == mark(DOCUMENT), "run: make client-typescript"


def test_words_do_not_make_types_stale_and_fields_do() -> None:
    worded, changed = copy.deepcopy(DOCUMENT), copy.deepcopy(DOCUMENT)
    worded["paths"]["/health"]["get"]["description"] = "Other words."
    assert mark(worded) == mark(DOCUMENT)
    changed["components"]["schemas"]["PackSpec"]["properties"].pop("description")
    assert mark(changed) != mark(DOCUMENT)


def test_comments_are_not_types() -> None:
    assert types_alone("/** Of a\n * shop. */\nname: string;") == "name: string;"


def test_the_package_pins_what_it_needs_and_names_no_host() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    needed = package["dependencies"] | package["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in needed.values())
    assert not (CLIENT / "package-lock.json").exists() or not _tracked_lock()
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    for file in CLIENT.rglob("*"):
        if file.is_file() and not {"node_modules", "dist"} & set(file.parts):
            hosts = set(re.findall(r"https?://([\w.-]+)", file.read_text()))
            assert not {host for host in hosts if "npm" in host or "registry" in host}, file


def _tracked_lock() -> bool:
    return "package-lock.json" not in (ROOT / ".gitignore").read_text()

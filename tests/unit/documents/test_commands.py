"""Every command that a document names is one that `billing` has, with the options named."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from cli.__main__ import app
from devstack.options import ROOT

DOCUMENTS: Final = sorted((ROOT / "docs").glob("*.md"))
# In a block, or between ticks, up to what comes behind the command.
_NAMED: Final = re.compile(
    r"(?:^|`|\$\(|api |/)billing ([a-z][^`#|>\n)]*(?:\\\n[^`#|>\n)]*)*)", re.M
)
_OPTION: Final = re.compile(r"--[a-z][a-z-]*")


def unknown(words: str) -> str | None:
    """The first word of a command that does not exist; None where all of it does."""
    try:
        parts = shlex.split(words)
    except ValueError:  # a sentence about it, with an apostrophe
        parts = words.split()
    command = get_command(app)
    while isinstance(command, TyperGroup) and parts and not parts[0].startswith(("-", "…")):
        found = command.commands.get(parts[0])
        if found is None:
            return parts[0]
        command, parts = found, parts[1:]
    options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    return next((one for one in _OPTION.findall(words) if one not in {*options, "--help"}), None)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_page_names_exists(document: Path) -> None:
    text = re.sub(r"(?<=\w)\n +(?=[\w-])", " ", document.read_text())
    named = [" ".join(words.split()) for words in _NAMED.findall(text)]
    assert [words for words in named if unknown(words)] == []


def test_a_command_or_option_that_is_not_there_is_found() -> None:
    assert unknown("reconcile-provider --since 2027-01-01") == "reconcile-provider"
    assert unknown("park --because x") == "--because"
    assert unknown("invoice credit inv_1 --reason x") is None

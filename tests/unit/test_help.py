"""The help of every command, whole and plain."""

from collections.abc import Iterator

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from cli.__main__ import app

ROOT = get_command(app)


def commands(group: TyperGroup, *before: str) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    yield before
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, *before, name)
        else:
            yield (*before, name)


def test_help_is_whole_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(ROOT, TyperGroup)
    for words in commands(ROOT):
        with pytest.raises(SystemExit) as end:
            ROOT.main([*words, "--help"], prog_name="billing")
        shown = capsys.readouterr().out
        assert end.value.code == 0, shown
        for noise in ("[default: no-", "╭", "<bool>"):
            assert noise not in shown, shown
        # A summary that does not fit its line would be cut off.
        listed = shown.partition("Commands:\n")[2].splitlines()
        assert [line for line in listed if line.endswith("...")] == []

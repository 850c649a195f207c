"""A command works on the servers that the environment names, by value or by file."""

from pathlib import Path

import pytest

from cli.errors import StackError
from cli.servers import find_stack, use_stack


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_a_named_database_needs_no_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "of our own")
    assert find_stack(tmp_path) is None
    assert not use_stack(tmp_path)


def test_without_either_there_is_no_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DATABASE_URL", "DATABASE_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StackError):
        find_stack(tmp_path)

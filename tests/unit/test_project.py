"""The folder of a stack stands where its ports do: in `.env`."""

from pathlib import Path

import pytest

from cli.project import ROOT, data_folder


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("STACK_DATA=/elsewhere/data", Path("/elsewhere/data")),
        ("STACK_DATA=.other", ROOT / ".other"),
        ("STACK_DATA=", ROOT / ".data"),
        ("STACK_API_PORT=8001", ROOT / ".data"),
    ],
)
def test_the_folder_of_the_stack_is_the_one_that_is_written(
    tmp_path: Path, written: str, folder: Path
) -> None:
    (tmp_path / ".env").write_text(written)
    assert data_folder(written=tmp_path / ".env") == folder


def test_where_nothing_is_written_it_is_data(tmp_path: Path) -> None:
    assert data_folder(written=tmp_path / ".env") == ROOT / ".data"

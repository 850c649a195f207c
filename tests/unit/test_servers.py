"""A command works on the servers that its settings name, by value or by file."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import usage_commands
from cli.__main__ import app
from cli.errors import StackError
from cli.servers import use_database, use_stack


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_a_named_database_needs_no_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "of our own")
    assert use_database(tmp_path) is None
    assert not use_stack(tmp_path)


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_a_database_named_in_the_file_of_settings_needs_no_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    for one in ("DATABASE_URL", "DATABASE_URL_FILE"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(f"{name}=of our own\n")
    monkeypatch.setattr("cli.servers.running_stack", lambda _: pytest.fail("another database"))
    assert use_database(None) is None
    assert not use_stack(None)


@pytest.mark.parametrize("how", ["--data", "STACK_DATA"])
@pytest.mark.parametrize("words", ["verify", "rebuild", "clock show acc_1", "token", "migrate"])
def test_a_folder_that_is_named_goes_before_the_file_of_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, how: str
) -> None:
    """Neither the database that the file names is used, nor its API, nor its secret."""
    for name in ("DATABASE_URL", "DATABASE_URL_FILE", "STACK_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("DATABASE_URL=of our own\nJWT_SECRET=ours\nBILLING_PUBLIC_URL=ours\n")
    named = tmp_path / "rehearsal"
    told = [how, str(named)] if how == "--data" else []
    env = {} if told else {how: str(named)}
    done = CliRunner().invoke(app, [*words.split(), *told], env=env)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"no stack runs on {named}")


def test_the_environment_goes_before_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "of our own")
    monkeypatch.setattr("cli.servers.running_stack", lambda _: pytest.fail("another database"))
    assert use_database(tmp_path) is None


def test_without_either_there_is_no_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "DATABASE_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StackError):
        use_database(tmp_path)


def test_an_import_where_no_stack_can_be_says_what_names_the_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage_commands, "HAS_STACK", False)
    monkeypatch.delenv("BILLING_URL", raising=False)
    done = CliRunner().invoke(app, ["usage", "import", "uses.csv"])
    assert done.exit_code == 1
    assert "--url (BILLING_URL) and --token (BILLING_TOKEN)" in done.stderr

"""Whose token the commands that act through the API send."""

from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from billing.core.settings import load_settings
from cli.__main__ import app
from cli.errors import StackError
from cli.operator_client import operator

SECRET = "a-secret-of-the-stack-with-32-bytes-and-more"


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://billing_app@nowhere/billing")
    monkeypatch.setenv("BILLING_PUBLIC_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("JWT_SECRET", raising=False)
    monkeypatch.delenv("BILLING_TOKEN", raising=False)
    load_settings.cache_clear()


def sent() -> str:
    load_settings.cache_clear()
    with operator(Path()) as client:
        return client.headers["Authorization"].removeprefix("Bearer ")


def test_a_token_of_the_identity_provider_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    assert sent() == "theirs", "without a secret"
    monkeypatch.setenv("JWT_SECRET", SECRET)
    assert sent() == "theirs", "and with one"


def test_a_token_of_our_own_names_who_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("LOGNAME", "ana")
    claims = jwt.decode(sent(), SECRET, ["HS256"], audience="durable-billing")
    assert (claims["sub"], claims["roles"]) == ("command-line:ana", ["admin"])


def test_the_file_of_settings_says_what_the_api_of_these_settings_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BILLING_PUBLIC_URL")
    monkeypatch.chdir(tmp_path)
    written = {
        "JWT_SECRET": f"{SECRET} , the-old-one", "JWT_AUDIENCE": "shop", "JWT_ISSUER": "idp",
        "BILLING_PUBLIC_URL": "http://127.0.0.1:1/",
    }  # fmt: skip
    lines = [f"{name}={value}" for name, value in written.items()]
    Path(".env").write_text("\n".join(lines))
    load_settings.cache_clear()
    with operator(tmp_path) as client:
        assert client.base_url.path == "/api/v1/"
        ours = client.headers["Authorization"].removeprefix("Bearer ")
    printed = CliRunner().invoke(app, ["token"]).stdout.strip()
    for token in (ours, printed):
        assert jwt.decode(token, SECRET, ["HS256"], audience="shop", issuer="idp")


def test_no_address_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    monkeypatch.delenv("BILLING_PUBLIC_URL")
    load_settings.cache_clear()
    with pytest.raises(StackError, match="set BILLING_PUBLIC_URL"), operator(Path()):
        raise AssertionError("nobody is asked")


def test_with_neither_it_says_what_to_set() -> None:
    with pytest.raises(StackError, match="BILLING_TOKEN or JWT_SECRET"), operator(Path()):
        raise AssertionError("nobody is asked")

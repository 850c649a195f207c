"""Whose token the commands that act through the API send."""

from pathlib import Path

import jwt
import pytest

from billing.core.settings import load_settings
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


def test_with_neither_it_says_what_to_set() -> None:
    with pytest.raises(StackError, match="BILLING_TOKEN or JWT_SECRET"), operator(Path()):
        raise AssertionError("nobody is asked")

"""A wrong setting is a line for whoever set it, never a traceback."""

import runpy
import sys

import pytest
from typer.testing import CliRunner

from billing.core.settings import load_settings
from cli.__main__ import app

WRONG = {
    "a default secret in production": ({"ENV": "production"}, "set STRIPE_WEBHOOK_SECRET to"),
    "an address without its scheme": ({"BILLING_PUBLIC_URL": "shop.example"}, "is no address"),
    "a file that is not there": (
        {"STRIPE_SECRET_KEY_FILE": "/nowhere"}, "STRIPE_SECRET_KEY_FILE cannot be read",
    ),
}  # fmt: skip


@pytest.fixture(params=WRONG)
def sentence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://billing_app@nowhere/billing")
    settings, words = WRONG[request.param]
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    return words


def test_what_prepares_the_database_ends_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, sentence: str
) -> None:
    monkeypatch.delitem(sys.modules, "cli.provision", raising=False)
    monkeypatch.setattr(sys, "argv", ["cli.provision"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("cli.provision", run_name="__main__")
    assert sentence in str(ended.value)


def test_a_command_says_the_reason(sentence: str) -> None:
    done = CliRunner().invoke(app, ["doctor"])
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert sentence in done.stderr

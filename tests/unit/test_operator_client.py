"""Whose token the commands that act through the API send, and how a lost answer is repeated."""

import re
from pathlib import Path

import httpx2
import jwt
import pytest
from typer.testing import CliRunner, Result

from billing.core.settings import load_settings
from cli.__main__ import app
from cli.errors import StackError
from cli.operator_client import content, operator

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


def test_a_secret_signs_nothing_where_the_identity_provider_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("JWT_JWKS_URL", "https://idp.example/jwks.json")
    with pytest.raises(StackError, match="BILLING_TOKEN"):
        sent()
    made = CliRunner().invoke(app, ["token"])
    assert (made.exit_code, made.stdout) == (1, "")
    assert "the identity provider signs" in made.stderr


def test_no_address_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    monkeypatch.delenv("BILLING_PUBLIC_URL")
    load_settings.cache_clear()
    with pytest.raises(StackError, match="set BILLING_PUBLIC_URL"), operator(Path()):
        raise AssertionError("nobody is asked")


def test_with_neither_it_says_what_to_set() -> None:
    with (
        pytest.raises(StackError, match="BILLING_TOKEN or, without JWT_JWKS_URL, JWT_SECRET"),
        operator(Path()),
    ):
        raise AssertionError("nobody is asked")


ACTS = {
    "clock": ["clock", "advance", "acc_1", "--days", "30"],
    "refund": ["refund", "pay_1", "--reason", "a wish"],
    "credit": ["invoice", "credit", "inv_1", "--amount-cents", "5", "--reason", "a wish"],
    "extend": ["subscription", "extend", "acc_1", "--days", "3", "--reason", "a wish"],
    "steer": ["steer", "extend", "--days", "3", "--reason", "a wish"],
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("cut", [KeyboardInterrupt(), httpx2.ReadTimeout("slow")], ids=type)
def test_who_gets_no_answer_is_told_how_to_do_it_once(
    monkeypatch: pytest.MonkeyPatch, act: str, cut: BaseException
) -> None:
    keys: list[str] = []

    def lost(_: httpx2.Client, request: httpx2.Request, **__: object) -> httpx2.Response:
        keys.append(request.headers["Idempotency-Key"].removesuffix("/"))
        raise cut

    monkeypatch.setattr(httpx2.Client, "send", lost)
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    done = CliRunner().invoke(app, ACTS[act])
    assert done.exit_code == 1
    assert f"--key {keys[0]} makes this safe to repeat" in done.stdout
    assert f"it may have been done: to repeat it safely, use --key {keys[0]}" in re.sub(
        r"\s+", " ", done.stderr
    )
    assert "nothing is left running" not in done.stderr
    CliRunner().invoke(app, [*ACTS[act], "--key", keys[0]])
    assert keys[1] == keys[0]


NAMED = {
    "clock": ["clock", "show", "{}"],
    "contract": ["contract", "show", "{}"],
    "refund": ["refund", "{}", "--reason", "a wish"],
    "credit": ["invoice", "credit", "{}", "--amount-cents", "5", "--reason", "a wish"],
    "extend": ["subscription", "extend", "{}", "--days", "3", "--reason", "a wish"],
    "move": ["subscription", "move-prices", "{}", "--reason", "a wish"],
}


@pytest.mark.parametrize("act", NAMED)
def test_a_name_with_a_sign_of_addresses_asks_for_no_other(
    monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    asked: list[str] = []

    def refused(_: httpx2.Client, request: httpx2.Request, **__: object) -> httpx2.Response:
        asked.append(request.url.raw_path.decode())
        return httpx2.Response(404, json={"code": "NOT_FOUND"}, request=request)

    monkeypatch.setattr(httpx2.Client, "send", refused)
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    CliRunner().invoke(app, [word.format("shop#1?a") for word in NAMED[act]])
    assert re.search(r"[/=]shop%231%3Fa(/|$)", asked[0])


def test_a_page_of_a_proxy_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def gateway(_: httpx2.Client, request: httpx2.Request, **__: object) -> httpx2.Response:
        return httpx2.Response(504, text="<html>Gateway Timeout</html>", request=request)

    monkeypatch.setattr(httpx2.Client, "send", gateway)
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    done = CliRunner().invoke(app, [*ACTS["refund"], "--key", "once"])
    assert done.exit_code == 1
    assert "to repeat it safely, use --key once" in re.sub(r"\s+", " ", done.stderr)


def test_a_try_run_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    done = CliRunner().invoke(app, [*ACTS["extend"], "--dry-run"])
    assert "--key" not in done.output


def test_what_is_only_stored_is_told_instead_of_read() -> None:
    with pytest.raises(StackError, match="repeat it"):
        content(httpx2.Response(202, json={"status": "accepted", "detail": "repeat it"}))
    assert content(httpx2.Response(202, json={"status": "ready"})) == {"status": "ready"}


def steered(monkeypatch: pytest.MonkeyPatch, **changed: object) -> Result:
    """The command on one subscription, which the API answers with."""
    invoice = {
        "invoice_id": "inv_1", "invoice_number": "A-1", "amount_cents": 4900, "status": "paid",
        "dunning_status": "recovered", "next_step": None, "next_at": None, "result": "succeeded",
    }  # fmt: skip
    one = {
        "subscription_id": "sub_1", "account_id": "acc_1", "currency": "USD", "refused": None,
        "status": "active", "effective_at": None, "is_repeated": False, "invoices": [invoice],
    }  # fmt: skip

    def answered(_: httpx2.Client, request: httpx2.Request, **__: object) -> httpx2.Response:
        page = {"data": [one | changed], "pagination": {"next_cursor": None}}
        return httpx2.Response(200, json=page, request=request)

    monkeypatch.setattr(httpx2.Client, "send", answered)
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    return CliRunner().invoke(app, ["steer", "retry", "--reason", "a wish"])


def test_what_was_overdue_is_no_more_said_to_be_once_it_is_steered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = steered(monkeypatch)
    assert done.stdout.splitlines()[-1] == (
        "1 steered, 0 refused; overdue of them before: 49.00 USD"
    )
    assert done.exit_code == 0


def test_who_is_refused_is_told_by_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    done = steered(monkeypatch, refused="NO_OPEN_CASE", detail="it owes nothing", invoices=[])
    assert done.stdout.splitlines()[-1].startswith("0 steered, 1 refused")
    assert done.exit_code == 1

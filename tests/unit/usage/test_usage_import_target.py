"""An import goes on only at the API and for the account that it began with."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import tokens
from cli.__main__ import app
from durable_billing.answers import Verdict

STAGING, PRODUCTION = "http://staging:8000", "http://production:8000"
BEGUN = [STAGING, "--account", "shop-1"]
Sent = list[tuple[str, str | None, int]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Requests of the import: the API, the account and the number of rows."""
    found: Sent = []

    class Api:
        """Records every row."""

        def __init__(self, url: str, _token: str, *, account: str | None) -> None:
            self.target = url, account

        def record_rows(self, rows: Sequence[bytes], *, apart: bool = False) -> list[Verdict]:
            assert not apart
            found.append((*self.target, len(rows)))
            return [Verdict("recorded")] * len(rows)

    monkeypatch.setattr("durable_billing.client.BillingClient", Api)
    return found


@pytest.fixture
def uses(tmp_path: Path) -> Path:
    path = tmp_path / "uses.jsonl"
    path.write_text(json.dumps({"product_id": "gpt-4", "usage_amount": "1"}))
    return path


def run(uses: Path, url: str, *options: str) -> Result:
    words = ["usage", "import", str(uses), "--token", "t", "--url", url, *options]
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        pytest.param([PRODUCTION, "--account", "shop-1"], id="another API"),
        pytest.param([STAGING, "--account", "shop-2"], id="another account"),
        pytest.param([STAGING], id="no account"),
    ],
)
def test_the_state_of_an_import_to_elsewhere_is_refused(
    sent: Sent, uses: Path, other: list[str], finished: bool
) -> None:
    assert run(uses, *BEGUN).exit_code == 0
    state = uses.with_name("uses.jsonl.import.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"finished": finished}))
    sent.clear()

    refused = run(uses, *other)
    assert (refused.exit_code, sent) == (1, []), refused.output
    assert f"is of an import to {STAGING} (account shop-1): use --restart" in refused.stderr

    assert run(uses, *other, "--restart").exit_code == 0
    assert sent == [(other[0], other[2] if other[1:] else None, 1)]


def test_the_same_target_goes_on(sent: Sent, uses: Path) -> None:
    assert run(uses, *BEGUN).exit_code == 0
    again = run(uses, f"{STAGING}/", "--account", "shop-1")
    assert "already finished (1 recorded" in again.stdout
    assert len(sent) == 1


def test_the_token_of_another_account_is_another_target(sent: Sent, uses: Path) -> None:
    def token_of(account: str) -> str:
        return tokens.mint_token(
            secret="s" * 32,
            account=account,
            roles=["billing"],
            subject="import",
            audience="billing",
            issuer="shop",
        )

    assert run(uses, STAGING, "--token", token_of("acct_1")).exit_code == 0
    refused = run(uses, STAGING, "--token", token_of("acct_2"))
    assert (refused.exit_code, len(sent)) == (1, 1), refused.output
    assert f"is of an import to {STAGING} (account acct_1): use --restart" in refused.stderr

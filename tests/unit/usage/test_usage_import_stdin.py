"""Rows of standard input that are refused stay in a file of that import's own."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import usage_commands
from cli.__main__ import app
from durable_billing.answers import Verdict

ROW = json.dumps({"event_id": "e-1", "product_id": "none", "usage_amount": "1"})


class Api:
    """Refuses every row."""

    def record_rows(self, rows: Sequence[bytes], *, apart: bool = False) -> list[Verdict]:
        assert not apart
        return [Verdict("rejected", "PRODUCT_PRICING_NOT_FOUND", "no price") for _ in rows]


def test_an_import_leaves_the_refused_rows_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(usage_commands, "_client", lambda *_: (Api(), "api"))
    for name in ("day-1", "day/2.csv"):
        done = CliRunner().invoke(app, ["usage", "import", "-", "--name", name], input=ROW)
        assert (done.exit_code, "1 rejected" in done.stdout) == (1, True), done.output
    assert {path.name for path in tmp_path.iterdir()} == {
        "stdin-day-1.rejected.jsonl", "stdin-day%2F2.csv.rejected.jsonl",
    }  # fmt: skip

"""Rows of an import that the API refuses for a reason that passes: sent again, and only those."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from cli.usage_file import UsageFile
from cli.usage_import import Import, Tally, Unfinished, read_tally
from durable_billing import connection
from durable_billing.answers import Verdict
from durable_billing.client import BillingClient
from durable_billing.events import FIELDS


class Api:
    """Puts off rows of product "new" for so many tries of each, and refuses those of "none"."""

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.sent: list[list[str]] = []
        self.bodies: dict[str, set[bytes]] = {}
        self._seen: dict[str, int] = {}

    def record_rows(self, rows: Sequence[bytes], *, apart: bool = False) -> list[Verdict]:
        read = [json.loads(row) for row in rows]
        self.sent.append([row["event_id"] for row in read])
        for row, body in zip(read, rows, strict=True):
            self.bodies.setdefault(row["event_id"], set()).add(body)
        return [self._verdict(row) for row in read]

    def _verdict(self, row: dict[str, Any]) -> Verdict:
        if row["product_id"] == "none":
            return Verdict("rejected", "PRODUCT_PRICING_NOT_FOUND", "no price")
        seen = self._seen[row["event_id"]] = self._seen.get(row["event_id"], 0) + 1
        if row["product_id"] == "new" and seen <= self.tries:
            return Verdict("rejected", "PRICING_UNAVAILABLE", "away", retry=True)
        return Verdict("recorded")


def run(folder: Path, api: Api, products: list[str], patience: float = 0, size: int = 0) -> Tally:
    state, rejected = folder / "state.json", folder / "rejected.jsonl"
    tally = read_tally(state, "src", "api")
    details = f'{{"x": 0.10, "y": "{"z" * size}"}}'
    lines = [
        f'{{"product_id": "{product}", "usage_amount": 1.50, "usage_details": {details}}}'
        for product in products
    ]
    one = Import(
        cast("BillingClient", api), tally, state=state, rejected=rejected,
        patience_seconds=patience,
    )  # fmt: skip
    one.run(UsageFile(io.BytesIO("\n".join(lines).encode()), "jsonl", FIELDS), lambda: None)
    return tally


def rejects(folder: Path) -> list[int]:
    return [json.loads(one)["line"] for one in (folder / "rejected.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_PAUSE_SECONDS", 0.002)


def test_rows_put_off_are_sent_again_until_they_are_taken(tmp_path: Path) -> None:
    api = Api(tries=3)
    done = run(tmp_path, api, ["sold", "new", "none", "new", "sold"], patience=10)
    assert (done.rows, done.recorded, done.duplicate, done.rejected) == (5, 4, 0, 1)
    assert (done.finished, done.waiting, rejects(tmp_path)) == (True, [], [3])
    assert [len(ids) for ids in api.sent] == [5, 2, 2, 2]
    assert all(len(bodies) == 1 for bodies in api.bodies.values())


def test_a_second_run_sends_just_the_rows_that_wait(tmp_path: Path) -> None:
    api, products = Api(tries=2), ["sold", "new", "none"] + ["sold"] * 1_200
    with pytest.raises(Unfinished) as stopped:
        run(tmp_path, api, products)
    assert str(stopped.value) == (
        "stopped after 1203 rows, 1 of them to be sent again: PRICING_UNAVAILABLE: away;"
        " run it again to go on"
    )
    assert [len(ids) for ids in api.sent] == [1_000, 203, 1]
    done = run(tmp_path, api, products)
    assert api.sent[3:] == [["import-src-2"]]
    assert len(api.bodies["import-src-2"]) == 1
    assert (done.recorded, done.rejected, done.finished) == (1_202, 1, True)
    assert rejects(tmp_path) == [3]


@pytest.mark.parametrize(("size", "rows", "stopped"), [(0, 1_500, 1_000), (100_000, 30, 18)])
def test_an_import_reads_on_only_while_few_rows_wait(
    tmp_path: Path, size: int, rows: int, stopped: int
) -> None:
    with pytest.raises(Unfinished, match=f"after {stopped} rows, {stopped} of them"):
        run(tmp_path, Api(tries=2), ["new"] * rows, size=size)
    done = run(tmp_path, Api(tries=1), ["new"] * rows, patience=10, size=size)
    assert (done.recorded, done.rejected, done.finished) == (rows, 0, True)

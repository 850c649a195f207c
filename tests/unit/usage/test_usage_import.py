"""An import counts, stops and goes on, with the API's answers scripted."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from cli.errors import StackError
from cli.usage_file import Format, UsageFile
from cli.usage_import import Import, Tally, Unfinished, read_tally
from durable_billing.answers import Verdict
from durable_billing.client import BillingClient
from durable_billing.errors import BillingClientError, BillingProblem, BillingUnreachable
from durable_billing.events import FIELDS

ROWS = 2_500


class Api:
    """Records every row except those of product "bad"; fails first as often as it is told to."""

    def __init__(self, *errors: BillingClientError) -> None:
        self.errors = list(errors)
        self.ids: list[str] = []

    def record_rows(self, rows: Sequence[bytes], *, apart: bool = False) -> list[Verdict]:
        if self.errors and len(self.ids) >= 1_000:
            raise self.errors.pop(0)
        read = [json.loads(row) for row in rows]
        self.ids += [row["event_id"] for row in read]
        bad = Verdict("rejected", "PRODUCT_PRICING_NOT_FOUND", "no price")
        return [bad if row["product_id"] == "bad" else Verdict("recorded") for row in read]


class Work:
    """One file in one folder, imported as often as asked."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state.json"
        self.rejected = folder / "rejected.jsonl"

    def run(
        self,
        api: Api,
        rows: int = ROWS,
        *,
        source: str = "src",
        content: str = "",
        format: Format = "jsonl",
        **row: Any,
    ) -> Tally:
        tally = read_tally(self.state, source, "api")
        one = Import(
            cast("BillingClient", api),
            tally,
            state=self.state,
            rejected=self.rejected,
            patience_seconds=0,
        )
        text = (
            json.dumps({"product_id": "bad" if n % 500 == 0 else "good", "usage_amount": 1} | row)
            for n in range(rows)
        )
        stream = io.BytesIO((content or "\n".join(text)).encode())
        one.run(UsageFile(stream, format, FIELDS), lambda: None)
        return tally

    @property
    def lines(self) -> list[int]:
        return [json.loads(line)["line"] for line in self.rejected.read_text().splitlines()]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def test_an_import_that_stopped_goes_on_after_the_last_batch_that_was_answered(work: Work) -> None:
    api = Api(BillingUnreachable("down"))
    with pytest.raises(Unfinished, match="stopped after 1000 rows: down"):
        work.run(api)
    done = work.run(api)
    assert (done.rows, done.recorded, done.rejected, done.finished) == (ROWS, 2_495, 5, True)
    assert len(api.ids) == len(set(api.ids)) == ROWS
    assert work.lines == [1, 501, 1001, 1501, 2001]
    assert work.run(api) == done
    assert len(api.ids) == ROWS


def test_rejected_rows_told_by_a_run_that_died_are_told_once(work: Work) -> None:
    api = Api(BillingUnreachable("down"))
    with pytest.raises(Unfinished):
        work.run(api)
    with work.rejected.open("a") as file:
        file.write('{"line": 1001}\n{"line": 15')
    work.run(api)
    assert work.lines == [1, 501, 1001, 1501, 2001]


def test_a_line_that_cannot_be_read_is_kept_as_it_stands(work: Work) -> None:
    rows = ['good,1,"ann', "good,2,bob", 'good,3,"cid"']
    content = "\n".join(["product_id,usage_amount,user_id", *rows])
    done = work.run(api := Api(), content=content, format="csv")
    assert (done.recorded, done.rejected) == (2, 1)
    assert api.ids == ["import-src-3", "import-src-4"]
    (told,) = map(json.loads, work.rejected.read_text().splitlines())
    assert (told["line"], told["row"], told["text"]) == (2, {}, rows[0])


def test_a_refusal_of_the_caller_stops_at_once(work: Work) -> None:
    with pytest.raises(StackError, match="the API refuses the import: 403 FORBIDDEN"):
        work.run(Api(BillingProblem(403, "FORBIDDEN", "not you")))


def test_rows_keep_their_own_ids_and_others_get_the_same_each_time(work: Work) -> None:
    first, second = Api(), Api()
    work.run(first, 2)
    work.state.unlink()
    work.run(second, 2)
    assert first.ids == second.ids == ["import-src-1", "import-src-2"]
    work.state.unlink()
    work.run(own := Api(), 1, event_id="mine")
    assert own.ids == ["mine"]


def test_rows_that_nothing_names_are_refused_before_they_are_counted_twice(work: Work) -> None:
    api = Api()
    with pytest.raises(StackError, match="line 1 has no event_id: give the input a --name"):
        work.run(api, source="", event_id=None)
    assert api.ids == []


def test_a_state_of_another_content_is_not_believed(work: Work) -> None:
    work.run(Api(), 1)
    with pytest.raises(StackError, match="the file has changed"):
        work.run(Api(), 1, source="other")
    work.state.write_text("[]")
    with pytest.raises(StackError, match="is not the state of an import"):
        work.run(Api(), 1)

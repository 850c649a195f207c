"""A file of usage imported by command: everything once, and a reason for each row that is not."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from devstack.stack import StackInfo
from tests.integration.actors import Customer
from tests.integration.client.conftest import CLIENT_SOURCE, Run, recorded
from tests.integration.waiting import PATIENCE_SECONDS


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"e-{number}", "feature_type": "chat_messages", "usage_amount": "1"} | more


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def rejected(path: Path) -> list[tuple[int, str]]:
    found = map(json.loads, Path(f"{path}.rejected.jsonl").read_text().splitlines())
    return [(one["line"], one["code"]) for one in found]


def progress(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {"rows": 0}
    return found


def import_until_killed(state: Path, stack: StackInfo, words: tuple[str, ...]) -> dict[str, Any]:
    """Its state file, after it was killed with a part of the rows done."""
    with subprocess.Popen(
        [sys.executable, "-m", "cli", *words],
        cwd=state.parent,
        env=os.environ | {"STACK_DATA": str(stack.data), "PYTHONPATH": str(CLIENT_SOURCE)},
    ) as started:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while progress(state)["rows"] < 2_000 and time.monotonic() < deadline:
            time.sleep(0.005)
        started.kill()
    return progress(state)


async def test_rows_are_recorded_and_bad_ones_told_with_their_line(
    customer: Customer, billing: Run, tmp_path: Path
) -> None:
    rows = [
        row(1),
        row(2, usage_amount=-1),
        row(3, usage_amount=2.5),
        "no object",
        row(5, feature_type="no-such-meter"),
        row(6, external_id="nobody"),
        row(7, usage_details={"text": "\ud800"}),
    ]
    file = write(tmp_path / "usage.jsonl", rows)
    done = billing("usage", "import", "usage.jsonl", "--account", customer.id)
    assert done.returncode == 1, done.stderr
    assert done.stdout.strip() == (
        "usage.jsonl: 2 recorded, 0 known before, 5 rejected (usage.jsonl.rejected.jsonl)"
    )
    assert await recorded(customer) == {"e-1": 1, "e-3": 1}
    assert rejected(file) == [
        (2, "VALIDATION_FAILED"),
        (4, "ROW_UNREADABLE"),
        (5, "METER_NOT_FOUND"),
        (6, "MERCHANT_NOT_FOUND"),
        (7, "ROW_UNREADABLE"),
    ]


async def test_a_csv_file_twice_is_recorded_once(
    customer: Customer, billing: Run, tmp_path: Path
) -> None:
    lines = ["feature_type,usage_amount,user_id", *["chat_messages,1,ann"] * 1_200]
    (tmp_path / "usage.csv").write_text("\n".join(lines))
    words = ("usage", "import", "usage.csv", "--account", customer.id)
    first = billing(*words)
    assert (first.returncode, first.stdout.strip()) == (
        0,
        "usage.csv: 1200 recorded, 0 known before, 0 rejected",
    ), first.stderr
    assert billing(*words).stdout.strip() == (
        "usage.csv: already finished (1200 recorded, 0 known before, 0 rejected);"
        " --restart sends all rows again"
    )
    again = billing(*words, "--restart")
    assert again.stdout.strip() == "usage.csv: 0 recorded, 1200 known before, 0 rejected"
    assert len(await recorded(customer)) == 1_200


async def test_a_file_that_changed_is_not_taken_for_the_old_one(
    customer: Customer, billing: Run, tmp_path: Path
) -> None:
    file = write(tmp_path / "usage.jsonl", [row(1)])
    words = ("usage", "import", "usage.jsonl", "--account", customer.id)
    assert billing(*words).returncode == 0
    write(file, [row(1), row(2)])
    refused = billing(*words)
    assert refused.returncode == 1
    assert "the file has changed" in refused.stderr
    assert await recorded(customer) == {"e-1": 1}


async def test_rows_of_nobody_stop_the_import_and_name_the_option(
    customer: Customer, billing: Run, tmp_path: Path
) -> None:
    write(tmp_path / "usage.jsonl", [row(1, account_id=customer.id), row(2)])
    refused = billing("usage", "import", "usage.jsonl")
    assert (refused.returncode, refused.stderr.strip()) == (
        1,
        "line 2 names no account: give --account, or a field account_id or external_id",
    )
    done = billing("usage", "import", "usage.jsonl", "--account", customer.id)
    assert done.stdout.strip() == "usage.jsonl: 1 recorded, 1 known before, 0 rejected"


async def test_standard_input_under_one_name_is_recorded_once(
    customer: Customer, billing: Run
) -> None:
    lines = '{"feature_type": "chat_messages", "usage_amount": 1}\n' * 3
    words = ("usage", "import", "-", "--account", customer.id, "--name", "day-1")
    assert billing(*words, stdin=lines).returncode == 0
    again = billing(*words, stdin=lines)
    assert again.stdout.strip() == "-: 0 recorded, 3 known before, 0 rejected"
    assert len(await recorded(customer)) == 3


async def test_a_killed_import_goes_on_where_it_was(
    customer: Customer, billing: Run, stack: StackInfo, tmp_path: Path
) -> None:
    bad = {3, 4_500, 11_999}
    rows = [row(n, usage_amount="0" if n in bad else "1") for n in range(12_000)]
    file = write(tmp_path / "usage.jsonl", rows)
    state = Path(f"{file}.import.json")
    words = ("usage", "import", "usage.jsonl", "--account", customer.id)
    done = await asyncio.to_thread(import_until_killed, state, stack, words)
    assert not done["finished"]
    finished = await asyncio.to_thread(billing, *words)
    assert finished.returncode == 1, finished.stderr
    total = progress(state)
    assert total["recorded"] + total["duplicate"] == 12_000 - len(bad)
    assert total["duplicate"] <= 1_000
    books = await recorded(customer)
    assert (len(books), set(books.values())) == (12_000 - len(bad), {1})
    assert [line for line, _ in rejected(file)] == sorted(number + 1 for number in bad)


def test_without_an_api_the_import_says_that_it_is_not_finished(
    billing: Run, tmp_path: Path
) -> None:
    write(tmp_path / "usage.jsonl", [row(1)])
    nowhere = ("--url", "http://127.0.0.1:9", "--token", "t", "--patience", "0")
    done = billing("usage", "import", "usage.jsonl", *nowhere)
    assert done.returncode == 75, "2 is a wrong option, which no repeat mends"
    assert "stopped after 0 rows" in done.stderr
    assert done.stderr.strip().endswith("run it again to go on")

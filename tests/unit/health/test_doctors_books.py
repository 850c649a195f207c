"""The doctor looks at all of the books where there is time, and else at what is late."""

import asyncio
from typing import Any, cast

import pytest

from billing.core.clock import real_now
from billing.insight.integrity import service
from billing.insight.integrity.schemas import Report
from cli import doctor_checks
from cli.doctor_checks import Patient


class _Anybody:
    database = None


@pytest.mark.parametrize(
    ("accounts", "seconds", "words"),
    [
        (3, 0.0, "0 checks hold"),
        (3, 5.0, "nothing is late; the hourly audit looks at the rest"),
        (3_000, 0.0, "nothing is late; the hourly audit looks at the rest"),
    ],
)
async def test_books_that_take_long_are_looked_at_for_what_is_late(
    accounts: int, seconds: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(ok=True, as_of=real_now(), checks=())

    async def count(_: Any) -> int:
        return accounts

    async def examine_all(_: Any, **__: Any) -> Report:
        await asyncio.sleep(seconds)
        return report

    async def examine_late(_: Any) -> Report:
        return report

    monkeypatch.setattr(doctor_checks, "BOOKS_SECONDS", 0.1)
    monkeypatch.setattr(service, "count_accounts", count)
    monkeypatch.setattr(service, "examine_all", examine_all)
    monkeypatch.setattr(service, "examine_late", examine_late)
    (sign,) = await doctor_checks.books(cast(Patient, _Anybody()))
    assert (sign.state, sign.words) == ("healthy", words)

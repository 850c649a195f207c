"""Work in the background says so when it fails."""

import asyncio
import logging

import pytest

from billing.core.background import in_background


async def test_work_that_fails_is_told_of_while_the_server_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def watch() -> None:
        raise LookupError("gone")

    told: list[logging.LogRecord] = []

    async def served() -> None:
        async with in_background(watch()):
            await asyncio.sleep(0.01)
            told.extend(caplog.records)

    with pytest.raises(LookupError):
        await served()
    (said,) = told
    assert said.levelname == "ERROR"
    assert "watch has failed" in said.getMessage()
    assert said.exc_info is not None


async def test_work_that_its_server_ends_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with in_background(asyncio.sleep(60)):
        await asyncio.sleep(0.01)
    assert caplog.records == []

"""`billing demo`: starts its own stack, runs the tales, counts the checks and cleans up."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx2
import typer
from rich.console import Console

from cli.errors import StackError
from devstack import launch
from devstack.control import StackControl
from devstack.demo import (
    debtor_tales,
    disaster_tales,
    purchase_tales,
    subscription_tales,
    usage_tales,
)
from devstack.demo.stage import DemoError, Stage
from devstack.options import Options
from devstack.progress import StartProgress
from devstack.stack import StackInfo
from sandbox.control import SandboxControl

REQUEST_SECONDS: Final = 30


def demo() -> None:
    """Watch real workflows bill real rows through Stripe's SDK. Exit code 1: a check failed."""
    console, begun = Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="billing-demo-") as folder:
        # The test profile: short timeouts, so that a killed worker is replaced in seconds.
        options = Options(
            data=Path(folder) / "data", profile="test", free_ports=True, owner=os.getpid()
        )
        try:
            with StartProgress(console) as progress:
                running = launch.launch(options, progress)
        except StackError as error:
            console.print(f"[red]{error}[/]")
            raise typer.Exit(1) from error
        try:
            console.print(f"Temporal UI while this runs: {running.info.temporal_ui_url}")
            passed, failed = asyncio.run(_tell(running.info, console))
        finally:
            running.stop()
    console.print(f"\ntold in {time.monotonic() - begun:.0f} s", highlight=False)
    console.print(f"demo: {passed} checks passed, {failed} failed", highlight=False)
    raise typer.Exit(1 if failed else 0)


async def _tell(stack: StackInfo, console: Console) -> tuple[int, int]:
    async with httpx2.AsyncClient(
        base_url=stack.api_url, timeout=REQUEST_SECONDS, trust_env=False
    ) as http:
        sandbox = SandboxControl(stack.sandbox_url)
        stage = Stage(stack, console, http, sandbox, StackControl(stack.control))
        try:
            await _tales(stage)
        except DemoError as error:
            stage.check(str(error), False, "the tale broke off")
        await sandbox.close()
    return stage.passed, len(stage.failed)


async def _tales(stage: Stage) -> None:
    await purchase_tales.webhooks_twice_and_late(stage)
    await purchase_tales.refunded(stage)
    await purchase_tales.trial_twice(stage)
    reader = await subscription_tales.fourteen_renewals(stage)
    await subscription_tales.upgraded(stage)
    await subscription_tales.recovered_by_new_card(stage)
    await subscription_tales.exhausted(stage)
    await debtor_tales.comes_back(stage)
    await debtor_tales.cancel_meets_a_slow_bank(stage)
    await usage_tales.metered(stage)
    await purchase_tales.worker_killed(stage)
    await disaster_tales.temporal_deleted(stage, reader)
    await disaster_tales.books(stage)

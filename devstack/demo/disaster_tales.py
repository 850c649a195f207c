"""Tales of losing things: Temporal's whole database deleted, and books that check themselves."""

import asyncio
import sys

from devstack.demo.stage import Customer, Stage
from devstack.options import ROOT


async def temporal_deleted(stage: Stage, reader: Customer) -> None:
    """Every workflow is gone; one command brings them back; the next renewal happens once."""
    stage.title("Temporal's database is deleted: rebuild from Postgres")
    before = len(await reader.charges())
    await stage.control.reset_temporal()
    stage.say("every workflow, timer and history is gone")
    rebuilt = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "rebuild", "--data", str(stage.stack.data),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await rebuilt.communicate()
    lines = output.decode().strip().splitlines()
    stage.say(lines[-1] if lines else "billing rebuild")
    stage.check("billing rebuild succeeded", rebuilt.returncode == 0, output.decode()[-500:])
    await reader.advance(days=31)
    after = [charge["name"] for charge in (await reader.charges())[before:]]
    stage.check("the next renewal was charged exactly once", after == ["charge.succeeded"], after)
    status = (await reader.subscription())["status"]
    stage.check("and the subscription is active", status == "active", status)


async def books(stage: Stage) -> None:
    """Every invariant of the books, evaluated."""
    stage.title("The books check themselves")
    report = await stage.operate("GET", "/admin/integrity")
    checks = report.get("checks", [])
    for one in checks:
        if not one["ok"]:
            stage.say(f"[red]{one['sentence']}[/]: {one['violations']} {one['examples']}")
    stage.check(
        f"{len(checks)} invariants hold", bool(checks) and all(c["ok"] for c in checks), report
    )
    strays = await stage.sandbox.violations()
    stage.check("every Stripe call had the shapes of Stripe's SDK", strays == [], strays[:3])

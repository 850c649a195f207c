"""The first page that an integrator reads: each of its commands does what it says."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from devstack.options import ROOT
from devstack.stack import StackInfo
from tests.guide_commands import commands

PAGE: Final = ROOT / "docs" / "first-integration.md"
SECONDS: Final = 60


async def test_every_command_of_the_first_integration_works(stack: StackInfo) -> None:
    start, *steps = commands(PAGE)
    assert start == "make up\n"
    script = "\n".join(steps)
    for written, here in (
        ("http://127.0.0.1:8080", stack.api_url),
        ("http://127.0.0.1:12111", stack.sandbox_url),
        (".venv/bin", str(Path(sys.executable).parent)),
    ):
        assert written in script
        script = script.replace(written, here.rstrip("/"))
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        cwd=ROOT,
        env=os.environ | {"STACK_DATA": str(stack.data)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await asyncio.wait_for(shell.communicate(), SECONDS))[0].decode()
    assert shell.returncode == 0, said
    assert '"credits":"100' in said
    assert "SUBSCRIPTION_EXISTS" in said

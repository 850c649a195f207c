"""Records the histories that every later version of the workflows must replay.

`python -m tests.replay.record` plays every story on a fresh stack and writes its history to
`tests/replay/histories/`; names as arguments choose some. A history of released code is never
recorded again: a change of the workflows adds stories, and is patched (docs of the SDK: patching).
"""

import asyncio
import json
import os
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client

from devstack.launch import launch
from devstack.options import ROOT, Options
from devstack.stack import StackInfo
from tests.integration.actors import Actors, open_actors
from tests.replay.cast import CANARY, CANARY_EMAIL, sweep
from tests.replay.payloads import clear_text
from tests.replay.stories import STORIES
from workflows.schedules import JOBS

HISTORIES: Final = Path(__file__).with_name("histories")
_WORKER_NAME: Final = re.compile(r"\d+@[\w.-]+")


async def main(names: list[str]) -> None:
    """Play and record the stories of these names, or all."""
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="billing-record-") as folder:
        options = Options(
            data=Path(folder) / "data", profile="test", free_ports=True, ui=False, owner=os.getpid()
        )
        running = await asyncio.to_thread(launch, options)
        try:
            async with open_actors(running.info) as actors:
                await record(actors, names)
        finally:
            await asyncio.to_thread(running.stop)


async def record(actors: Actors, names: list[str]) -> None:
    """One file per story, and one per job of the schedules."""
    for name, story in STORIES.items():
        if not names or name in names:
            await keep(actors, name, await story(actors))
    for job in JOBS:
        if not names or f"sweep-{job}" in names:
            await keep(actors, f"sweep-{job}", await sweep(actors.temporal, job))


async def keep(actors: Actors, name: str, workflow_id: str) -> None:
    """Write the newest run of a workflow, without anything that names this machine."""
    history = without_traces(await settled_history(actors.temporal, workflow_id))
    text = _WORKER_NAME.sub("worker", json.dumps(history, separators=(",", ":")))
    text = text.replace(f"{ROOT}/", "").replace(socket.gethostname(), "worker")
    refuse_secrets(text, name, actors.stack)
    (HISTORIES / f"{name}.json").write_text(text + "\n")
    sys.stdout.write(f"{name}: {len(history['events'])} events of {workflow_id}\n")


async def settled_history(client: Client, workflow_id: str) -> dict[str, Any]:
    """The history once no workflow task is under way: a half-finished one does not replay."""
    while True:
        fetched = await client.get_workflow_handle(workflow_id).fetch_history()
        history: dict[str, Any] = json.loads(fetched.to_json())
        last = history["events"][-1]["eventType"]
        if not last.startswith("EVENT_TYPE_WORKFLOW_TASK_") or last.endswith("TASK_COMPLETED"):
            return history
        await asyncio.sleep(0.1)


def without_traces(node: Any) -> Any:
    """The same without stack traces: they name folders of this machine, and nobody replays them."""
    if isinstance(node, dict):
        return {key: without_traces(value) for key, value in node.items() if key != "stackTrace"}
    return [without_traces(one) for one in node] if isinstance(node, list) else node


def refuse_secrets(text: str, name: str, stack: StackInfo) -> None:
    """Nothing personal and nothing secret may be written down, encoded or not."""
    planted = [CANARY, CANARY_EMAIL, stack.jwt_secret, stack.stripe_webhook_secret]
    planted += [
        url.partition("@")[0].rpartition(":")[2] for url in (stack.app_url, stack.owner_url)
    ]
    told = clear_text(json.loads(text))
    for secret in planted:
        if secret in told:
            raise SystemExit(f"{name} would give away {secret[:4]}…: not recorded")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

"""The supervisor's own process: `python -m devstack '<options as JSON>'`.

People use `billing up`; it starts this process detached and reads its progress lines.
"""

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from cli.errors import StackError
from devstack.data_folder import LOCK, DataFolder, Process
from devstack.environment import person_environment
from devstack.options import Options
from devstack.ports import fixed_ports, free_ports, refuse_taken
from devstack.postgres import open_postgres
from devstack.supervisor import Supervisor

WATCH_SECONDS: Final = 0.5
FOLDER_MODE: Final = 0o711  # the sockets below are closed; PostgreSQL's user may pass through

log = logging.getLogger(__name__)


def tell(**event: str) -> None:
    """Send a line of progress to the launcher, if it still listens."""
    with suppress(OSError):
        print(json.dumps(event), flush=True)  # noqa: T201 - the launcher reads it


def prepare(options: Options) -> Supervisor:
    """Lock the folder and decide ports and identity. Errors: StackError."""
    folder = DataFolder(options.data)
    if left := folder.lock():
        tell(note=f"ended what a killed stack had left: {', '.join(left)}")
    ports = free_ports() if options.free_ports else fixed_ports(person_environment("default"))
    refuse_taken(ports, options.children)
    run_folder = Path(tempfile.mkdtemp(prefix="billing-"))
    run_folder.chmod(FOLDER_MODE)
    sockets = run_folder / "pg"
    sockets.mkdir(mode=0o700)
    try:
        postgres = open_postgres(folder, sockets, ports.postgres, options.postgres_buffers)
    except StackError:
        shutil.rmtree(run_folder)
        raise
    return Supervisor(
        options, folder, ports, postgres, lambda part, state: tell(part=part, state=state)
    )


async def supervise(options: Options) -> None:
    """Run the stack until it is stopped or no longer wanted. Errors: StackError."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    supervisor = prepare(options)
    watcher = asyncio.create_task(watch(options, stopping, supervisor.folder))
    starting = asyncio.create_task(supervisor.start())
    asked = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
            tell(ready=str(supervisor.folder.stack_file))
            let_go()
        await asked
    finally:
        watcher.cancel()
        await supervisor.stop()


async def watch(options: Options, stopping: asyncio.Event, folder: DataFolder) -> None:
    """Request a stop when the owner process has ended or the data folder was deleted; write what
    a full disk kept out of the folder.
    """
    owner = None
    if options.owner is not None:
        with suppress(psutil.NoSuchProcess):
            owner = Process.of(options.owner)
    while not stopping.is_set():
        if options.owner is not None and (owner is None or owner.find() is None):
            log.info("owner %s is gone", options.owner)
            stopping.set()
        elif not (options.data / LOCK).exists():
            log.info("%s is gone", options.data)
            stopping.set()
        else:
            folder.catch_up()
        await asyncio.sleep(WATCH_SECONDS)


def let_go() -> None:
    """Close the progress pipe: the launcher reads to its end."""
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def main() -> int:
    """Run the stack. Exit code 0: it was stopped in order; 1: it was refused, with one sentence."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
    os.umask(0o077)  # every file of the stack is its owner's alone
    try:
        asyncio.run(supervise(Options.model_validate_json(sys.argv[1])))
    except StackError as error:
        tell(error=str(error))
        return 1
    finally:
        gc.collect()  # Temporal's core may abort an interpreter that ends with its objects alive
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Kill any part of a stack, the supervisor too: it comes back with everything it had."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from cli.errors import StackError
from devstack.control import StackControl
from devstack.launch import RunningStack, stop
from devstack.stack import StackInfo, dsn, read_stack
from tests.integration.stack.conftest import Starter

PATIENCE_SECONDS = 20


def write_row(info: StackInfo) -> None:
    with psycopg.connect(dsn(info.owner_url), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS survivor (id int)")
        connection.execute("INSERT INTO survivor VALUES (1)")


def rows(info: StackInfo) -> int:
    with psycopg.connect(dsn(info.app_url)) as connection:
        found = connection.execute("SELECT count(*) FROM survivor").fetchone()
    return int(found[0]) if found else 0


async def open_workflow(info: StackInfo) -> None:
    client = await Client.connect(info.temporal_address, namespace=info.temporal_namespace)
    await client.start_workflow("Sleeper", id="sleeper", task_queue="nobody-listens")


async def workflow_runs(info: StackInfo) -> bool:
    client = await Client.connect(info.temporal_address, namespace=info.temporal_namespace)
    try:
        description = await client.get_workflow_handle("sleeper").describe()
    except RPCError:
        return False
    return description.status == WorkflowExecutionStatus.RUNNING


def left_over(info: StackInfo) -> list[str]:
    """Processes that still work on the stack's folder."""
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and str(info.data) in " ".join(process.info["cmdline"] or [])
    ]


def wait_until_nothing_is_left(info: StackInfo) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left_over(info) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_over(info) == []


async def test_a_killed_supervisor_leaves_nothing_in_the_way_of_the_next_start(
    start: Starter,
) -> None:
    first = start("postgres", "temporal")
    write_row(first.info)
    await open_workflow(first.info)
    os.kill(first.info.pid, signal.SIGKILL)
    first.process.wait()
    assert len(left_over(first.info)) >= 2, "the children outlive a killed supervisor"
    with pytest.raises(StackError, match="was killed: start it again"):
        read_stack(first.info.data)

    again = start("postgres", "temporal")

    assert rows(again.info) == 1
    assert await workflow_runs(again.info)
    assert not first.info.control.parent.exists(), "its sockets are cleared away"
    again.stop()
    wait_until_nothing_is_left(again.info)


async def test_killed_servers_come_back_with_all_they_had(start: Starter) -> None:
    running = start("postgres", "temporal")
    control = StackControl(running.info.control)
    write_row(running.info)
    await open_workflow(running.info)
    for _ in range(2):
        await control.kill("postgres")
        await control.kill("temporal")
        await control.wait("postgres")
        await control.wait("temporal")
        assert rows(running.info) == 1
        assert await workflow_runs(running.info)
    status = await control.status()
    assert status["postgres"].restarts == status["temporal"].restarts == 2

    await control.reset_temporal()
    assert not await workflow_runs(running.info), "a new database knows no workflow"

    await control.kill("postgres", hold=True)
    held = await control.status()
    assert held["postgres"].pid is None
    assert held["postgres"].state == "held"
    assert (await control.start("postgres"))["postgres"].state == "ready"
    assert (await control.restart("postgres"))["postgres"].pid != held["postgres"].pid
    assert rows(running.info) == 1


async def test_an_unknown_part_is_refused_by_name(start: Starter) -> None:
    control = StackControl(start("postgres").info.control)
    with pytest.raises(StackError, match="unknown child 'api'; known are postgres"):
        await control.restart("api")


def test_a_stack_stops_when_its_owner_is_gone(start: Starter) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    running = start("postgres", owner=owner.pid)
    owner.kill()
    owner.wait()
    running.process.wait(PATIENCE_SECONDS)
    wait_until_nothing_is_left(running.info)


def test_stopping_twice_is_harmless(start: Starter) -> None:
    running: RunningStack = start("postgres")
    assert stop(running.info.data)
    assert not stop(running.info.data)
    wait_until_nothing_is_left(running.info)
    assert not running.info.control.parent.exists()


def test_a_stack_stops_when_its_folder_is_taken_away(start: Starter, tmp_path: Path) -> None:
    running = start("postgres")
    running.info.data.rename(tmp_path / "elsewhere")
    running.process.wait(PATIENCE_SECONDS)
    wait_until_nothing_is_left(running.info)
    assert not running.info.control.parent.exists()

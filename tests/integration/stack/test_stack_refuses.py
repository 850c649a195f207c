"""A stack that cannot start says so in one sentence, and leaves nothing running."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import StackError
from devstack import os_user
from devstack.binaries import temporal_program
from devstack.data_folder import DataFolder
from devstack.launch import launch, stop
from devstack.options import ROOT, Options
from devstack.ports import FREE_FROM, FREE_TO, LISTENERS, fixed_ports, free_ports, refuse_taken
from tests.integration.stack.conftest import Starter

LOCK_AND_END = """
import sys
from pathlib import Path
from devstack.data_folder import DataFolder
DataFolder(Path(sys.argv[1])).lock()
"""


def test_two_stacks_run_side_by_side(start: Starter, tmp_path: Path) -> None:
    one, two = start("postgres", data=tmp_path / "one"), start("postgres", data=tmp_path / "two")
    assert not set(one.info.ports.model_dump().values()) & set(two.info.ports.model_dump().values())


def test_a_second_stack_on_the_same_folder_is_told_so(start: Starter) -> None:
    first = start("postgres")
    with pytest.raises(StackError, match=r"another stack runs on .*make down"):
        start("postgres")
    assert first.process.poll() is None


def test_a_taken_port_is_named_with_the_setting_that_moves_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = subprocess.run(
            [sys.executable, "-m", "cli", "up", "--data", str(tmp_path), "--only", "postgres"],
            cwd=ROOT,
            env={**os.environ, "STACK_POSTGRES_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert answer.returncode == 1
    assert answer.stderr.strip() == (
        f"port {port} (postgres) is taken: "
        "end the program that uses it, or set STACK_POSTGRES_PORT to another port"
    )


def test_all_taken_ports_are_named_at_once_each_with_its_setting() -> None:
    with socket.socket() as one, socket.socket() as other:
        for taken in (one, other):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        postgres, api = one.getsockname()[1], other.getsockname()[1]
        ports = free_ports().model_copy(update={"postgres": postgres, "api": api})
        with pytest.raises(StackError) as refused:
            refuse_taken(ports, LISTENERS)
    assert str(refused.value) == (
        f"ports {postgres} (postgres), {api} (api) are taken: end the programs that use them,"
        " or set STACK_POSTGRES_PORT, BILLING_SERVICE_PORT to other ports"
    )


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(StackError, match="BILLING_SERVICE_PORT=abc is not a port"):
        fixed_ports({"BILLING_SERVICE_PORT": "abc"})


def test_free_ports_differ_and_stay_out_of_the_systems_range() -> None:
    ports = list(free_ports().model_dump().values())
    assert len(set(ports)) == len(ports)
    assert all(FREE_FROM <= port < FREE_TO for port in ports)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"file/data cannot be written .*choose another folder"):
        launch(Options(data=tmp_path / "file" / "data", children=("postgres",)))


def test_damaged_secrets_are_not_replaced(start: Starter, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "secrets.json").write_text("{}")
    with pytest.raises(StackError, match=r"secrets.json is damaged"):
        start("postgres")


def test_a_half_made_database_never_counts(start: Starter, tmp_path: Path) -> None:
    half = tmp_path / "data" / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    start("postgres")
    assert not half.exists()


def test_a_broken_database_is_reported_with_its_own_words(start: Starter, tmp_path: Path) -> None:
    start("postgres").stop()
    shutil.rmtree(tmp_path / "data" / "postgres" / "global")
    with pytest.raises(StackError, match=r"postgres ended while starting: .*\(see .*postgres.log"):
        start("postgres")
    assert not stop(tmp_path / "data"), "nothing was left running"


def test_a_search_attribute_of_another_type_is_refused(start: Starter, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    port = str(free_ports().temporal)
    server = subprocess.Popen(
        [
            *(str(temporal_program()), "server", "start-dev", "--headless", "--port", port),
            *("--ip", "127.0.0.1", "--log-level", "error", "--namespace", "billing"),
            *("--db-filename", str(data / "temporal.db"), "--search-attribute", "Plan=Int"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    assert any("Temporal Server" in line for line in server.stdout)
    server.terminate()
    server.wait()
    server.stdout.close()
    with pytest.raises(StackError, match="search attribute Plan, but not as Keyword"):
        start("temporal")


def test_a_dead_supervisors_lock_is_free_again(tmp_path: Path) -> None:
    left = subprocess.run(
        [
            *(sys.executable, "-c", LOCK_AND_END, str(tmp_path)),
        ],
        cwd=ROOT,
        check=False,
    )
    assert left.returncode == 0
    assert DataFolder(tmp_path).lock() == []


def test_root_without_namespaces_needs_folders_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os_user, "NAMESPACE", ("false",))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StackError, match=r"cannot run as root.*ordinary user"):
        os_user.choose_identity(closed)
    assert os_user.choose_identity(Path("/usr")).uid == os_user.NOBODY


def test_an_ordinary_user_runs_the_database_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert os_user.choose_identity(Path("/nowhere")) == os_user.Identity()

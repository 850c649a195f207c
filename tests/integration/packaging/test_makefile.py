"""The commands a stranger types first: what they need and what they say without it."""

import re
import shutil
import subprocess
from pathlib import Path

from devstack.options import ROOT

PROMISED = {
    "demo",
    "up",
    "down",
    "drill",
    "test",
    "coverage",
    "bench",
    "lint",
    "mutants",
    "client-typescript",
    "lock",
    "sbom",
    "pin-images",
    "clean",
}


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", folder)
    return subprocess.run(["make", *words], cwd=folder, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_command(tmp_path: Path) -> None:
    shown = make(tmp_path)
    assert set(re.findall(r"^  make ([\w-]+)", shown.stdout, re.MULTILINE)) == PROMISED | {"help"}


def test_an_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("requirements-stack.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    refused = make(tmp_path, "demo", f"PYTHON={old}")
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[0] == (
        "Python 3.11 or newer is needed: try make PYTHON=python3.11 demo"
    )


def test_the_readme_names_the_two_commands_first() -> None:
    readme = (ROOT / "README.md").read_text()
    assert 0 < readme.index("make demo") < readme.index("make test") < 1_000


def test_every_pin_has_a_hash_and_no_address() -> None:
    for name in (
        "requirements.lock",
        "requirements-otel.lock",
        "requirements-stack.lock",
        "requirements-months.lock",
        "requirements-dev.lock",
    ):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^[a-z0-9][^\n]*==", text, re.MULTILINE)
        hashed = re.findall(r"^[a-z0-9][^\n]*== ?[^\n]*\\\n {4}--hash=sha256:", text, re.MULTILINE)
        assert len(pins) == len(hashed) > (0 if "months" in name else 10)
        assert "://" not in text

"""What is installed is what runs: every module and every file beside it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from embedded.options import ROOT

PACKAGES = (
    "billing", "gateways", "activities", "workflows", "api", "sandbox", "embedded", "migrations",
)  # fmt: skip
MODULES = ("worker.py", "cli.py")


def test_the_wheel_holds_every_file_that_a_package_reads(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES, *MODULES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = listed.stdout.splitlines()
    expected = {name for name in names if (ROOT / name).is_file() and not name.endswith(".md")}
    source = tmp_path / "source"
    for name in [*expected, "pyproject.toml", "requirements.in", "README.md"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(source)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("durable_billing-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert expected - inside == set()
    assert "billing = cli:app" in zipfile.ZipFile(wheel).read(entry_points(inside)).decode()


def entry_points(names: set[str]) -> str:
    return next(name for name in names if name.endswith("entry_points.txt"))

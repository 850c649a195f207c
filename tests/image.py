"""Reads the Dockerfile: which files of the project each of its images holds."""

import re
import subprocess
from pathlib import Path
from typing import Final

from devstack.options import ROOT

TEXT: Final = (ROOT / "Dockerfile").read_text()
_FROM: Final = re.compile(r"^FROM (\S+) AS (\S+)$")
_COPY: Final = re.compile(r"^COPY (?!--from)(.+) (\S+)$")
_COPY_FROM: Final = re.compile(r"^COPY --from=(\S+) /app /app$")


def sources(target: str) -> frozenset[str]:
    """The files and folders of the project that are in an image, by their names here."""
    held: dict[str, set[str]] = {}
    stage = ""
    for line in TEXT.replace("\\\n", " ").splitlines():
        if begun := _FROM.match(line):
            stage = begun[2]
            held[stage] = set(held.get(begun[1], ()))
        elif copied := _COPY.match(line):
            held[stage].update(copied[1].split())
        elif whole := _COPY_FROM.match(line):
            held[stage] |= held[whole[1]]
    return frozenset(held[target])


def files(target: str) -> list[Path]:
    """The tracked files that an image holds."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *sorted(sources(target))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def installed(target: str) -> str:
    """The text of all lock files that an image is installed from."""
    names = sorted(name for name in sources(target) if name.endswith(".lock"))
    return "\n".join((ROOT / name).read_text() for name in names)

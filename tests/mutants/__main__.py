"""Plants each fault in a temporary copy of the project and runs the tests that must notice it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Final

from rich.console import Console
from rich.table import Table

from devstack.options import ROOT
from tests.mutants.fault import Mutant
from tests.mutants.planted import MUTANTS

SECONDS: Final = 600
AT_ONCE: Final = 2


def copy_project(folder: Path) -> None:
    """Every file of the project, as it stands."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def run_tests(folder: Path, tests: tuple[str, ...], env: Mapping[str, str]) -> tuple[int, int, str]:
    """(passed, failed, the last words) of a selection, run in the copy."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
            cwd=folder,
            env={**os.environ, **env, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return 0, 1, f"it hung for {SECONDS} seconds"
    words = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", words)}
    passed, failed = counts.get("passed", 0), counts.get("failed", 0)
    # A story that passed, but whose books the fixture then finds wrong, ends with an error.
    return passed, failed + (counts.get("error", 0) if passed else 0), words


def draft_migration(folder: Path) -> None:
    """A fault in a SQL function reaches a database through the migration in the making."""
    subprocess.run([sys.executable, "-m", "migrations.draft"], cwd=folder, check=True)


class Visitor:
    """Plants faults, each in a copy of the project that nobody else uses meanwhile."""

    def __init__(self, place: Path) -> None:
        self._folders: Queue[Path] = Queue()
        self._green: dict[tuple[object, ...], str | None] = {}
        for number in range(AT_ONCE):
            folder = place / str(number)
            folder.mkdir(mode=0o755)  # the database may run as another user
            copy_project(folder)
            self._folders.put(folder)

    def visit(self, mutant: Mutant) -> tuple[bool, str]:
        """True if the mutant is noticed, after the same tests were green without it."""
        folder = self._folders.get()
        try:
            not_green = self._not_green(folder, mutant)
            if not_green is not None:
                return False, f"not green without the fault: {not_green}"
            return self._plant(folder, mutant)
        finally:
            self._folders.put(folder)

    def _not_green(self, folder: Path, mutant: Mutant) -> str | None:
        """The last words of tests that are not green; the same tests are asked once."""
        selection = (mutant.tests, *sorted(mutant.env.items()))
        if selection not in self._green:
            passed, failed, words = run_tests(folder, mutant.tests, mutant.env)
            self._green[selection] = words if failed or not passed else None
        return self._green[selection]

    def _plant(self, folder: Path, mutant: Mutant) -> tuple[bool, str]:
        file = folder / mutant.file
        whole = file.read_text()
        file.write_text(whole.replace(mutant.old, mutant.new))
        draft_migration(folder)
        try:
            _, failed, words = run_tests(folder, mutant.tests, mutant.env)
        finally:
            file.write_text(whole)
            draft_migration(folder)
        return failed > 0, words


def main(names: list[str]) -> int:
    """Visit all mutants, or those whose name holds one of the words; 1 when one survives."""
    console = Console()
    table = Table("planted fault", "where", "noticed", "pytest")
    chosen = [one for one in MUTANTS if not names or any(name in one.name for name in names)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="billing-mutants-") as place:
        Path(place).chmod(0o755)
        visitor = Visitor(Path(place))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for mutant, (noticed, words) in zip(
                chosen, pool.map(visitor.visit, chosen), strict=True
            ):
                console.print(f"{'noticed' if noticed else '[red]SURVIVED[/]'}: {mutant.name}")
                survivors += not noticed
                table.add_row(
                    mutant.name, mutant.file, "yes" if noticed else "[red]NO", words.strip("= ")
                )
    console.print(table)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make drill`: plant one incident after the other, and print how each was found and mended."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from devstack.launch import launch, stop
from devstack.options import Options
from tests.drill.incidents import INCIDENTS
from tests.drill.rehearsal import rehearse, show


def main() -> None:
    """Rehearse every incident, or those whose names hold the words given."""
    words = " ".join(sys.argv[1:])
    chosen = [one for one in INCIDENTS if words in one.name]
    folder = Path(tempfile.mkdtemp(prefix="billing-drill-"))
    options = Options(data=folder / "data", free_ports=True, ui=False)
    console = Console(width=160)
    try:
        done = asyncio.run(rehearse(launch(options).info, chosen, console))
    finally:
        stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
    console.print(show(done), markup=False, soft_wrap=True)
    sys.exit(any(one.fault is not None for one in done))


if __name__ == "__main__":
    main()

"""The commands of a document, as its reader types them: the blocks marked `sh`.

`python -m tests.guide_commands docs/first-integration.md | bash -euo pipefail` runs them.
"""

import re
import sys
from pathlib import Path

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(document: Path) -> list[str]:
    """Each block of commands, in order."""
    return _BLOCK.findall(document.read_text())


if __name__ == "__main__":
    sys.stdout.write("\n".join(commands(Path(sys.argv[1]))))

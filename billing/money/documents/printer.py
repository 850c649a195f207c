"""The program that renders documents, one after the other: JSON in, PDF out.

It is a process of its own, with a limit on memory, so that no text can harm the process that serves
customers. `Press` starts it, and ends it when a document takes too long.
"""

import base64
import hashlib
import importlib.resources
import json
import resource
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import typst

from billing.money.documents.framing import LENGTH
from billing.money.documents.glyphs import covered, fit_all

HERE: Final = Path(__file__).parent
MEMORY_BYTES: Final = 2 << 30
CJK: Final = "noto_cjk_sans_jp_regular"
"""The package of the font for Chinese, Japanese and Korean, too large for this repository."""
PNG: Final = b"\x89PNG"


class Printer:
    """One compiler with its fonts, in a folder with only the template and logos."""

    def __init__(self, folder: Path) -> None:
        cjk = importlib.resources.files(CJK)
        with importlib.resources.as_file(cjk) as more:
            folders = [HERE / "fonts", more]
            files = [path for one in folders for path in sorted(one.glob("*.[ot]tf"))]
            self._shown = covered(path.read_bytes() for path in files)
            fonts = typst.Fonts(False, False, [str(one) for one in folders])
        self._folder = folder
        self._families = sorted(fonts.families(), key=lambda name: (name != "Noto Sans", name))
        template = folder / "document.typ"
        template.write_bytes((HERE / "document.typ").read_bytes())
        self._compiler = typst.Compiler(str(template), root=str(folder), font_paths=fonts)

    def render(self, asked: dict[str, Any]) -> bytes:
        """The PDF of a document; the same document has the same bytes, whoever renders it."""
        content = fit_all(asked["content"], self._shown)
        content |= {"fonts": self._families, "logo": self._logo(asked["logo"])}
        issued = datetime.fromisoformat(asked["content"]["issued_on"]).replace(tzinfo=UTC)
        pdf = self._compiler.compile(
            format="pdf", sys_inputs={"document": json.dumps(content)}, timestamp=issued
        )
        if not isinstance(pdf, bytes):
            raise TypeError("a document is one PDF")
        return pdf

    def _logo(self, picture: str | None) -> str | None:
        if picture is None:
            return None
        content = base64.b64decode(picture)
        kind = "png" if content.startswith(PNG) else "jpg"
        name = f"{hashlib.sha256(content).hexdigest()}.{kind}"
        self._folder.joinpath(name).write_bytes(content)
        return name


def serve(asked: BinaryIO, answered: BinaryIO) -> None:
    """Render requests until the input ends."""
    with tempfile.TemporaryDirectory(prefix="billing-documents-") as folder:
        printer = Printer(Path(folder))
        while head := asked.read(LENGTH.size):
            _, length = LENGTH.unpack(head)
            try:
                good, content = True, printer.render(json.loads(asked.read(length)))
            except (RuntimeError, ValueError) as error:
                good, content = False, str(error).encode()
            answered.write(LENGTH.pack(good, len(content)) + content)
            answered.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    serve(sys.stdin.buffer, sys.stdout.buffer)

"""The guide at /guide: the Markdown documents of this project as pages; and the page at /.

A link between documents leads to the other document's page. Of HTML only anchors are kept, so that
no document can load or run anything.
"""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.pages.html_pages import page
from api.routes.base import PREFIX
from billing.core.errors import NotFound

GUIDE: Final = "/guide"
ROOT: Final = Path(__file__).parents[2]
_DOCUMENTS: Final = ROOT / "docs"
_ELSEWHERE: Final = ("sandbox", "clients/python", "clients/typescript")
"""Folders outside of docs/ whose README is also a page."""
_PLACE: Final = re.compile(r'<a id="[\w-]+">(?:</a>)?|</a>')
_NOT_IN_A_PLACE: Final = re.compile(r"[^\w\- ]")


def _pages() -> dict[str, Path]:
    found = {
        re.sub(r"(?:^|/)README$", "", path.relative_to(_DOCUMENTS).with_suffix("").as_posix()): path
        for path in sorted(_DOCUMENTS.rglob("*.md"))
    }
    return found | {folder: ROOT / folder / "README.md" for folder in _ELSEWHERE}


PAGES: Final = _pages()
"""Each document by the name of its page."""
_NAMES: Final = {path: name for name, path in PAGES.items()}


def url(document: Path) -> str:
    """Return the address of a document's page."""
    return f"{GUIDE}/{_NAMES[document]}".rstrip("/")


def install(app: FastAPI, *, is_open: bool) -> None:
    """Serve the pages beside the API, outside of its document.

    Where the guide is not open to all, the page at / does not link to it.
    """

    async def front(_: Request) -> HTMLResponse:
        return page("front.html", title="durable-billing", prefix=PREFIX, is_open=is_open)

    app.add_route("/", front, methods=["GET"], include_in_schema=False)
    app.add_route(GUIDE, _show, methods=["GET"], include_in_schema=False)
    app.add_route(f"{GUIDE}/{{name:path}}", _show, methods=["GET"], include_in_schema=False)


async def _show(request: Request) -> HTMLResponse:
    document = PAGES.get(request.path_params.get("name", ""))
    if document is None:
        raise NotFound("NOT_FOUND")
    title, body = _rendered(document)
    return page("guide.html", title=title, body=body)


@cache
def _rendered(document: Path) -> tuple[str, str]:
    """Return the title and body of a page: our own document, its HTML escaped."""
    tokens = _MARKDOWN.parse(document.read_text())
    title = ""
    for opening, inside in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", place_of(inside.content))
            title = title or inside.content
        for part in inside.children or ():
            if part.type == "link_open":
                _lead(part, document)
    return title, _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})


def place_of(heading: str) -> str:
    """Return the anchor of a heading, as links spell it."""
    return _NOT_IN_A_PLACE.sub("", heading.lower()).replace(" ", "-")


def _lead(link: Token, document: Path) -> None:
    """Point a link to the other document's page; remove a link to a file without a page."""
    target = str(link.attrGet("href"))
    path, sign, place = target.partition("#")
    if "://" in target:
        link.attrSet("rel", "noreferrer")
    elif path:
        other = (document.parent / path).resolve()
        if other in _NAMES:
            link.attrSet("href", f"{url(other)}{sign}{place}")
        else:
            del link.attrs["href"]


def _only_places(tokens: list[Token], at: int, *_: Any) -> str:
    written = tokens[at].content
    return written if _PLACE.fullmatch(written.strip()) else escapeHtml(written)


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark").enable("table")
    for kind in ("html_block", "html_inline"):
        markdown.renderer.rules[kind] = _only_places  # type: ignore[attr-defined]
    return markdown


_MARKDOWN: Final = _markdown()

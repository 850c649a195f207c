"""The guide is the documents of this folder as pages: whole, linked, and with no other host."""

from html.parser import HTMLParser
from typing import Final

import httpx2

from api.pages.guide import PAGES, url
from devstack.options import ROOT
from tests.test_documents import anchors

# Tags that load or send a thing; the style of a page stands in it.
_LOADING: Final = frozenset({
    "link", "img", "script", "iframe", "object", "embed", "form", "video", "audio", "base", "svg",
})  # fmt: skip


class Page(HTMLParser):
    """The links of a page, its places and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.leads: list[str] = []
        self.places: set[str] = set()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if given.get("href"):
            self.leads.append(str(given["href"]))
        if given.get("id"):
            self.places.add(str(given["id"]))


async def opened(client: httpx2.AsyncClient, path: str) -> Page:
    answer = await client.get(path)
    assert answer.status_code == 200, path
    return Page(answer.text)


def test_every_document_is_a_page() -> None:
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    served = {path.relative_to(ROOT).as_posix() for path in PAGES.values()}
    assert documents <= served
    assert url(ROOT / "docs/README.md") == "/guide"
    assert url(ROOT / "docs/decisions/README.md") == "/guide/decisions"
    assert url(ROOT / "docs/runbook.md") == "/guide/runbook"


async def test_every_link_of_every_page_leads_to_a_page_and_a_place(
    client: httpx2.AsyncClient,
) -> None:
    pages = {url(path): await opened(client, url(path)) for path in PAGES.values()}
    for other in ("/", "/docs", "/health"):
        pages[other] = Page("")
    for address, page in pages.items():
        for lead in page.leads:
            if "://" in lead:
                continue
            path, _, place = lead.partition("#")
            assert (path or address) in pages, f"{address} leads to {lead}"
            assert not place or place in pages[path or address].places, f"{address}: {lead}"


async def test_a_page_has_the_places_of_its_document_and_asks_no_other_host(
    client: httpx2.AsyncClient,
) -> None:
    for document in PAGES.values():
        answer = await client.get(url(document))
        page = Page(answer.text)
        assert "h1" in page.tags, document
        assert anchors(document) <= page.places, document
        assert not _LOADING & set(page.tags), document
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "http" not in policy


async def test_the_contents_of_a_folder_lead_to_each_of_its_pages(
    client: httpx2.AsyncClient,
) -> None:
    """The index leads to all others, and to the contents of each folder that has its own."""
    pages: dict[str, set[str]] = {}
    for name, path in PAGES.items():
        folder = name.rpartition("/")[0]
        contents = folder if folder in PAGES else ""
        if name != contents:
            pages.setdefault(contents, set()).add(url(path))
    assert {"", "decisions", "rules"} <= set(pages)
    for contents, inside in pages.items():
        page = await opened(client, url(PAGES[contents]))
        assert inside <= set(page.leads), contents


async def test_what_is_not_a_page_is_not_found(client: httpx2.AsyncClient) -> None:
    for path in ("/guide/nothing", "/guide/../README.md", "/guide/%2e%2e/README", "/guide/x/y/z"):
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND")
    assert (await client.post("/guide")).status_code == 405


async def test_the_front_page_says_what_this_is_and_where_to_go_on(
    client: httpx2.AsyncClient,
) -> None:
    front = await client.get("/")
    assert {"/guide", "/docs", "/health"} <= set(Page(front.text).leads)
    assert "default-src 'none'" in front.headers["Content-Security-Policy"]
    assert "0.1" not in front.text, "no version for strangers"

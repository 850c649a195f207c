"""Documents and code agree: rule ids and links lead somewhere, retired words are gone."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from api.pages.guide import place_of
from api.routes.base import PREFIX
from billing.core.ids import NOTE, REQUEST
from devstack.options import ROOT
from migrations import draft
from tests.api_document import DOCUMENT
from tests.rule_chapters import CHAPTERS, all_rules
from tests.test_architecture import name, tracked
from tests.unit.core.test_ids import PREFIXES

REQUIREMENTS: Final = ROOT / "docs" / "requirements.md"
ARCHITECTURE: Final = (ROOT / "docs" / "architecture.md").read_text()
ROADMAP: Final = ROOT / "docs" / "roadmap.md"
PROSE: Final = {".md"}
CODE: Final = {".py", ".sql", ".yaml", ".yml", ".toml", ".html", ".sh", ".mako"}
THIS: Final = "tests/test_documents.py"
# Migrations that were released: nobody may change them, so their words stay.
FROZEN: Final = {f"migrations/versions/{file}" for one in draft.releases() for file in one["files"]}
CHAPTER: Final = "ABCDEFGHIJKLMNOPQRSTUVWX"

_ID: Final = re.compile(rf"[{CHAPTER}]\d{{1,2}}")
# What stands in brackets: ids, their ranges, and words between them.
_REFERENCE: Final = re.compile(
    rf"\[((?:[{CHAPTER}]\d{{1,2}}(?:(?:, | to | and |-)(?=[{CHAPTER}]\d))?)+)\](?!\()"
)
_RANGE: Final = re.compile(r"([A-Z])(\d+)(?: to |-)([A-Z])(\d+)")
_ROUTE: Final = re.compile(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^` \n]*)")
_ANCHOR: Final = re.compile(r'<a id="([\w-]+)"></a>')
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NO_LETTER: Final = "(?<![A-Za-z])"
_DOCUMENT: Final = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)*[\w.-]+\.md)(?:#([\w-]+))?")


class Retired(NamedTuple):
    """A word that nobody writes any more, and what is said instead."""

    pattern: str
    instead: str
    still: int = 0
    """Times it may still be written while it is being renamed: never more, in the end 0."""


def word(text: str, instead: str, still: int = 0) -> Retired:
    """The word by itself or as a part of a name: `road`, `off_road`, `road_of`."""
    return Retired(rf"{_NO_LETTER}(?:{text})(?![A-Za-z])", instead, still)


# One line per word of ours, public name or name of a release; add a line with the commit that takes
# it away.
RETIRED: Final = (
    word("roads?", "flow"),
    word("laps(?:e|es|ed|ing)", "expire"),
    word("included_amount", "included_units"),
    word("charged_amount", "charged_units"),
    Retired(r"\bembedded/|\b(?:from|import) embedded\b|\bembedded\.\w", "devstack or cli"),
    word("rows' word", "state read from the rows"),
    word("hush", "mark_object_handled"),
    word("obey(?:ed|s)?", "run_command"),
    word("steering", "dunning_commands, control"),
    Retired(r"\w+Picture\b|[a-z]{4}Future\b", "Snapshot, Projection"),
    word("lookout", "sweeps"),
    word("lows", "low_balance"),
    word("errands|pouring|traps|specimens", "the noun of what the tests use"),
    Retired(r"(?<!\.)\bmerchants?(?:\.\w|: |_on_clock)", "Customer, customer"),
    word("purses?", "account, CreditAccount"),
    Retired(r"\bopen_world|\bworld\.\w|: World\b", "the noun of what it holds"),
    Retired(
        r'"""(?:What|Whether|How|Who|Where|When|Which|Why) ',
        "a noun phrase or a sentence",
    ),
    word("[Tt]ellers?", "Notifier"),
    word(r"usage_plain\w*|\w+_sure", "a name that ends in _fast"),
    word("hold_collectors|charge_told|plan_bound", "take_collectors, charge_of, of_plan"),
    word("RegisterActivities|AccountSteps|RateLimits", "MatterNote-, AccountBase, CallerRates"),
    Retired(r"\bactivities[./](?:interceptor|register)\b", "billing_interceptor, matter_notes"),
    Retired(r"\bSweep(?:Request|Report|Workflow)\b|\bworkflows[./]sweep\b", "Job-, workflows.job"),
    Retired(r"\bpayments[./]methods\b", "payment_methods"),
    word("usage_batch_parser|usage_refusals|preview_tokens", "usage/, previews/tokens"),
    word("budget_used|quota_roll_windows", "budget_spent, quota_open_windows"),
    word("usage_dues_fast|usage_goes_on_since", "usage_charges_fast, usage_carried_since"),
    Retired(r"\bcycles\.of\(", "subscription_of"),
    Retired(r"\b(?:notifying|start)\.bear\b|\bensure_running\b", "start_new"),
    Retired(r"\bfrom_balance\b", "from_balance_cents"),
    Retired(r'"(?:well|ill)"', "healthy, unhealthy"),
    Retired(r"(?-i:\b(?:PAYING|COLLECTORS)\b)", "COLLECTING_STEPS, RECOVERING"),
    Retired(r"\brules\.md\b", "docs/rules/ and the chapter's file"),
    Retired(r"\bbilling reconcile\b|\bcli[./]reconcile\b", "billing catch-up, cli.catch_up"),
)


def texts(kinds: set[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of the tracked files of these kinds."""
    for path in tracked():
        if path.suffix in kinds and "static" not in path.parts and name(path) not in FROZEN:
            yield name(path), text_of(path)


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def in_small_letters() -> str:
    """All prose and code in one, but for this file."""
    found = (f"{file}\n{text}" for file, text in texts(PROSE | CODE) if file != THIS)
    return "\n".join(found).lower()


def may_be_used(retired: Retired) -> bool:
    """False if not even the letters of a word are anywhere.

    A pattern that begins with its letters, as they stand, is found twenty times as fast.
    """
    letters = retired.pattern.removeprefix(_NO_LETTER).removeprefix(r"\b")
    return bool(re.search(letters.lower(), in_small_letters()))


@cache
def anchors(path: Path) -> frozenset[str]:
    """Every place of a document that a link may name."""
    text = path.read_text()
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return frozenset({*_ANCHOR.findall(text), *map(place_of, titles)})


def named_ids(text: str) -> Iterator[str]:
    """Every rule id that is named in brackets, ranges counted out."""
    for match in _REFERENCE.finditer(text):
        inside = match[1]
        for chapter, first, same, last in _RANGE.findall(inside):
            assert chapter == same, f"a range stays in its chapter: [{inside}]"
            yield from (f"{chapter}{n}" for n in range(int(first), int(last) + 1))
        yield from _ID.findall(inside)


def test_every_rule_id_leads_to_a_rule() -> None:
    rules = anchors(REQUIREMENTS)
    lost = {
        f"{file}: [{rule}]"
        for file, text in texts(PROSE | CODE)
        if file != THIS
        for rule in named_ids(text)
        if rule.lower() not in rules
    }
    assert lost == set()


def test_the_rules_are_whole_and_in_order() -> None:
    text = REQUIREMENTS.read_text()
    written = re.findall(r'^- <a id="(\w+)"></a>\*\*\[(\w+)\]\*\*', text, re.MULTILINE)
    assert len(written) == len(re.findall(r"^- ", text, re.MULTILINE)) >= 348
    assert [rule.lower() for _, rule in written] == [anchor for anchor, _ in written]
    ids = [rule for _, rule in written]
    assert ids == sorted(ids, key=lambda rule: (rule[0], int(rule[1:])))
    for chapter in CHAPTER:
        numbers = [int(rule[1:]) for rule in ids if rule[0] == chapter]
        assert numbers == list(range(1, len(numbers) + 1)), chapter


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("[E5]", ["E5"]),
        ("[G1-G3]", ["G1", "G2", "G3"]),
        ("[N1 to N3, N11]", ["N1", "N11", "N2", "N3"]),
        ("[A6 and A8]", ["A6", "A8"]),
        ("row[A1] is code too", ["A1"]),
        ("[T], [i7], [E5](#e5)", []),
    ],
)
def test_ranges_and_lists_of_ids_are_read(text: str, ids: list[str]) -> None:
    assert sorted(set(named_ids(text))) == ids


def test_every_link_between_documents_leads_somewhere() -> None:
    lost = [
        f"{file}: {target}"
        for file, text in texts(PROSE)
        for target in _LINK.findall(text)
        if "://" not in target and not leads(ROOT / file, target)
    ]
    assert lost == []


def leads(document: Path, target: str) -> bool:
    """True if a link of `document` names a file or folder that is here, and a place in it."""
    path, _, place = target.partition("#")
    found = (document.parent / path).resolve() if path else document
    if not found.exists() or not found.is_relative_to(ROOT):
        return False
    return not place or place in anchors(found)


def test_a_document_names_only_files_that_are_here() -> None:
    folders = "|".join(sorted({name(path).partition("/")[0] for path in tracked()} - {".ci"}))
    path = re.compile(rf"`((?:{folders})/[\w./-]*)`")
    lost = [
        f"{file}: {named}"
        for file, text in texts(PROSE)
        if file != "CHANGELOG.md"  # it tells of what was
        for named in path.findall(text)
        if not (ROOT / named).exists()
    ]
    assert lost == []


def test_code_refers_to_no_document_that_is_not_here() -> None:
    lost = [
        f"{file}: {match[0]}"
        for file, text in texts(CODE)
        if file != THIS
        for match in _DOCUMENT.finditer(text)
        if not known(match[1], match[2])
    ]
    assert lost == []


def known(document: str, place: str | None) -> bool:
    """True if a document named in code is here, by its path from the root or below `docs/`."""
    found = next((path for path in (ROOT, ROOT / "docs") if (path / document).is_file()), None)
    return found is not None and (place is None or place in anchors(found / document))


@cache
def served() -> frozenset[str]:
    """`GET /billing/records/{}`: every method and path of the API, as documents write them."""
    return frozenset(
        plain_route(f"{method.upper()} {path.removeprefix(PREFIX)}")
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
    )


def plain_route(text: str) -> str:
    """A route without its prefix, the names of its parameters, a query and optional parts."""
    path = re.sub(r"\?.*|\[.*", "", text).replace(f" {PREFIX}/", " /")
    return re.sub(r"\{[\w:]+\}", "{}", path)


def test_a_rule_names_routes_that_are_served_and_says_which_are_not() -> None:
    wrong = []
    rules = f"{all_rules()}\n{REQUIREMENTS.read_text()}"
    for text in re.split(r"^(?=- )", rules, flags=re.MULTILINE):
        rule = " ".join(text.split())
        later = "*Not served yet.*" in rule
        wrong += [
            f"{rule[:60]}: {route}"
            for route in _ROUTE.findall(rule)
            if (plain_route(route) in served()) == later
        ]
    assert wrong == []


def test_the_roadmap_links_to_every_rule_that_is_not_served_yet_and_to_no_other() -> None:
    place = r"\((?:rules/(?!README)(\w+)\.md|requirements\.md#(\w+))\)"
    linked = [chapter or rule for chapter, rule in re.findall(place, ROADMAP.read_text())]
    pages = (REQUIREMENTS, *CHAPTERS.values())
    assert sorted(linked) == sorted({marked for page in pages for marked in unserved(page)})


def unserved(document: Path) -> Iterator[str]:
    """The anchor of each rule that is marked; of a rule without one, its chapter's name."""
    place = document.stem
    for part in re.split(r"^(?=- |<a )", document.read_text(), flags=re.MULTILINE):
        place = next(iter(_ANCHOR.findall(part)), place)
        if "*Not served yet" in " ".join(part.split()):
            yield place


@pytest.mark.parametrize(
    "document",
    [
        "README.md", "docs/integrate.md", "docs/operate.md", "docs/runbook.md",
        "docs/first-integration.md", "docs/limits.md", "docs/tokens.md", "docs/deploy.md",
        "docs/catalog.md", "docs/events.md",
    ],
)  # fmt: skip
def test_a_document_names_only_routes_that_are_served(document: str) -> None:
    routes = _ROUTE.findall((ROOT / document).read_text())
    assert [route for route in routes if plain_route(route) not in served()] == []


def test_the_architecture_names_the_files_that_import_the_providers_sdk() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    allowed = {
        f"{imports.partition(' -> ')[0].replace('.', '/')}.py"
        for contract in contracts["contracts"]
        for imports in contract.get("ignore_imports", ())
        if imports.endswith(" -> stripe")
    }
    row = next(line for line in ARCHITECTURE.splitlines() if line.startswith("| `gateways/` |"))
    named = [path for path in re.findall(r"`([\w/*]+\.py)`", row) for path in ROOT.glob(path)]
    assert {name(path) for path in named} == allowed


def test_the_changelog_has_each_area_once_below_a_heading() -> None:
    section = (ROOT / "CHANGELOG.md").read_text().partition("\n## Unreleased\n")[2]
    parts = re.split(r"^### ", section.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    assert len(parts) > 3
    for part in parts:
        entries = re.findall(r"^- (?:\*\*(.+?)\.?\*\*)?", part, re.MULTILINE)
        areas = [area for area, _ in groupby(entries)]
        again = {area for area in areas if areas.count(area) > 1 or not area}
        assert not again, f"{part.splitlines()[0]}: stand at two places: {sorted(again)}"


@pytest.mark.parametrize("layer", ["platform", "catalog", "ledger", "metering", "money", "insight"])
def test_the_architecture_names_every_package_of_a_layer(layer: str) -> None:
    row = next(line for line in ARCHITECTURE.splitlines() if line.startswith(f"| `{layer}` |"))
    packages = {path.parent.name for path in (ROOT / "billing" / layer).glob("*/__init__.py")}
    words = {package.replace("_", " ") for package in packages}
    assert {one for one in words if one not in row.replace("-", " ")} == set()


def test_the_glossary_lists_the_prefix_of_every_id_that_is_shown() -> None:
    paragraphs = (ROOT / "docs" / "glossary.md").read_text().split("\n\n")
    listed = next(re.findall(r"`(\w+)`", one) for one in paragraphs if one.startswith("`acc`"))
    assert sorted(listed) == sorted({*PREFIXES} - {NOTE, REQUEST})


@pytest.mark.parametrize("retired", RETIRED, ids=lambda retired: retired.instead)
def test_retired_words_are_not_used(retired: Retired) -> None:
    pattern = re.compile(retired.pattern, re.IGNORECASE)
    used = [
        f"{file}: {found}"
        for file, text in (texts(PROSE | CODE) if may_be_used(retired) else ())
        if file != THIS
        for found in pattern.findall(f"{file}\n{text}")
    ]
    assert len(used) <= retired.still, f"say {retired.instead}: {used}"

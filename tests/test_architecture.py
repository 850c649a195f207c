"""The shape of the code, held by tests: who may import whom, sizes, names, floats.

Every exception is listed here by name with its reason.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from devstack.options import ROOT

MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 40
MAX_HANDLER_LINES: Final = 15

PRODUCT: Final = (
    "billing", "gateways", "activities", "workflows", "api", "sandbox", "devstack", "cli",
    "migrations", "benchmarks", "worker.py",
)  # fmt: skip

PURE_FILES: Final = {
    "rules", "schemas", "agenda", "kinds", "webhooks", "provider", "declines", "states",
}  # fmt: skip
PURE_CORE: Final = {
    "context", "currencies", "paypal_currencies", "frozen", "money", "periods", "ids", "keys",
    "errors", "profile", "json_members",
}  # fmt: skip

IMPURE: Final = re.compile(
    r"\.(store|tables|service)$|^billing\.core\.(database|clock|settings|logs|prepared)\b"
    r"|^(sqlalchemy|psycopg)\b"
)

MONEY_MODULES: Final = re.compile(
    r"billing/(core/(currencies|money|periods)|catalog|ledger|metering|money"
    r"|insight/(forecasts|recommendations|reports|timeline))(/\w+)*\.py$"
    r"|gateways/stripe\w*(/\w+)?\.py$"
)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the project, new ones included, as git sees it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file())


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_files(*, product_only: bool = False) -> Iterator[Path]:
    for path in tracked():
        if path.suffix == ".py" and (not product_only or name(path).split("/")[0] in PRODUCT):
            yield path


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


def test_every_layer_imports_only_what_it_may() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("layer", ["gateways", "workflows"])
def test_the_outer_deciders_see_only_the_pure_part_of_the_domain(layer: str) -> None:
    """The contracts forbid impure files by name; here whatever is not pure is refused."""
    wrong = [
        f"{name(path)}: {module}"
        for path in python_files(product_only=True)
        if name(path).startswith(f"{layer}/")
        for module in imported_domain_modules(path)
        if not is_pure(module)
    ]
    assert wrong == []


class Outline(NamedTuple):
    """A file read once for all tests: the nodes of whole files would fill the memory."""

    docstring: str
    imports: tuple[ast.Import | ast.ImportFrom, ...]
    functions: tuple[tuple[str, int], ...]
    """Their names, and their lines of code."""


@cache
def outline(path: Path) -> Outline:
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    return Outline(
        ast.get_docstring(tree) or "",
        tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)),
        tuple(
            (node.name, code_lines(node))
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ),
    )


def imported_domain_modules(path: Path) -> Iterator[str]:
    for node in outline(path).imports:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("billing."))
        elif (node.module or "").startswith("billing"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / inner.replace(".", "/")).with_suffix(".py").exists()
                yield inner if is_module else str(node.module)


def is_pure(module: str) -> bool:
    parts = module.split(".")
    if parts[1] == "core":
        return len(parts) > 2 and parts[2] in PURE_CORE
    return len(parts) > 2 and parts[-1] in PURE_FILES


def test_the_client_is_a_package_of_its_own() -> None:
    """Callers install it without the product; of the product only the command line uses it."""
    allowed = set(sys.stdlib_module_names) | {"durable_billing", "httpx2", "pydantic"}
    wrong = [
        f"{name(path)}: {module}"
        for path in python_files()
        for module in imported_packages(path)
        if (name(path).startswith("clients/python/src/") and module not in allowed)
        or (
            module == "durable_billing"
            and not name(path).startswith(("clients/", "cli/", "tests/", "benchmarks/"))
        )
    ]
    assert wrong == []


def imported_packages(path: Path) -> Iterator[str]:
    for node in outline(path).imports:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        else:
            yield str(node.module).partition(".")[0]


def test_no_two_files_import_each_other_even_by_a_third() -> None:
    """Imports for types and those inside functions count too."""
    graph = dict(import_graph())
    while leaves := {module for module, imports in graph.items() if not imports & graph.keys()}:
        for module in leaves:
            del graph[module]
    knots = {module: imports & graph.keys() for module, imports in graph.items()}
    assert knots == {}


@cache
def import_graph() -> Mapping[str, frozenset[str]]:
    """Each module of the product and the client, with the modules it imports."""
    files = [*python_files(product_only=True)]
    files += [path for path in python_files() if name(path).startswith("clients/python/src/")]
    return {
        name(path)
        .removeprefix("clients/python/src/")
        .removesuffix(".py")
        .replace("/", "."): frozenset(imported_modules(path))
        for path in files
    }


def imported_modules(path: Path) -> Iterator[str]:
    for node in outline(path).imports:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_a_module_that_calls_itself_pure_reaches_nothing_that_reads_or_waits() -> None:
    graph = import_graph()
    pure = [
        name(path).removesuffix(".py").replace("/", ".")
        for path in python_files(product_only=True)
        if re.search(r"\bPure\b", outline(path).docstring)
    ]
    assert len(pure) > 90
    impure = {module: reached for module in pure if (reached := _impure(graph, module))}
    assert impure == {}


def _impure(graph: Mapping[str, frozenset[str]], module: str) -> list[str]:
    """Return what the module imports, at whatever distance, that does I/O or reads the clock."""
    found, waiting = set[str](), [module]
    while waiting:
        new = graph.get(waiting.pop(), frozenset[str]()) - found
        found |= new
        waiting += new
    return sorted(filter(IMPURE.search, found))


def test_no_file_is_longer_than_one_purpose() -> None:
    long = {
        name(path): lines
        for path in python_files()
        if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES
    }
    assert long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{name(path)}:{function}": lines
        for path in python_files(product_only=True)
        for function, lines in outline(path).functions
        if lines > MAX_FUNCTION_LINES
    }
    assert long == {}


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring aside."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def test_a_handler_of_the_api_fits_in_fifteen_lines() -> None:
    """It validates, authorizes, calls a service and answers; its signature is not counted."""
    long = {
        f"{name(path)}:{node.name}": lines
        for path in python_files(product_only=True)
        if name(path).startswith("api/routes/")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef) and any(map(is_route, node.decorator_list))
        if (lines := body_lines(node)) > MAX_HANDLER_LINES
    }
    assert long == {}


def is_route(decorator: ast.expr) -> bool:
    """`@router.get(…)` and its like."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "router"


def body_lines(function: ast.AsyncFunctionDef) -> int:
    """Lines behind the signature and the docstring."""
    first, *rest = function.body
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = rest[0] if documented and rest else first
    return (function.end_lineno or 0) - start.lineno + 1


def test_package_files_are_empty() -> None:
    assert [name(p) for p in python_files() if p.name == "__init__.py" and p.stat().st_size] == []


def test_names_say_what_a_module_is_about() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "data", "misc"}
    assert [name(p) for p in python_files() if vague & set(name(p)[:-3].split("/"))] == []


def test_an_import_under_another_name_means_one_module_everywhere() -> None:
    meant: dict[str, set[str]] = {}
    for path in python_files(product_only=True):
        for node in outline(path).imports:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("billing."):
                for one in node.names:
                    target = f"{node.module}.{one.name}"
                    if one.asname and (ROOT / target.replace(".", "/")).with_suffix(".py").exists():
                        meant.setdefault(one.asname, set()).add(target)
    unclear = {alias: sorted(targets) for alias, targets in meant.items() if len(targets) > 1}
    assert unclear == {}


def test_money_never_touches_a_float() -> None:
    wrong = [
        f"{name(path)}:{line}"
        for path in python_files(product_only=True)
        if MONEY_MODULES.search(name(path))
        for line in float_lines(path)
    ]
    assert wrong == []


def float_lines(path: Path) -> Iterator[int]:
    """Lines with a float or a division that makes one; lengths of time in seconds are no money.

    Asking `isinstance(value, float)` is how a float is refused, so that is allowed.
    """
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.expr) or "SECONDS" in lines[node.lineno - 1]:
            continue
        if isinstance(node, ast.Name) and "isinstance(" in lines[node.lineno - 1]:
            continue
        a_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
        a_type = isinstance(node, ast.Name) and node.id == "float"
        a_division = (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Div)
            and not (isinstance(node.right, ast.Constant) and isinstance(node.right.value, str))
        )
        if a_float or a_type or (a_division and not has_decimal(path)):
            yield node.lineno


def has_decimal(path: Path) -> bool:
    """Division is exact enough only where Decimal or Fraction is at work."""
    return bool(re.search(r"\b(Decimal|Fraction)\b", path.read_text()))


def test_no_path_of_one_machine_and_no_registry_is_written_down() -> None:
    machine = re.compile(r"(?<![\w.}])/(home|root|Users|work)/[\w.-]+")
    hosts = "|".join(
        ("pypi" + r"\.org", "files" + r"\.pythonhosted", r"index-url\s*=", "--index-url")
    )
    registry = re.compile(hosts)
    wrong = [
        name(path)
        for path, text in texts()
        if machine.search(text) or registry.search(text.replace("--no-emit-index-url", ""))
    ]
    assert [entry for entry in wrong if entry != "tests/test_architecture.py"] == []


def test_nothing_is_left_for_later_and_no_error_is_swallowed() -> None:
    left = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b|except(?: Exception)?:\s*[p]ass\b")
    assert [name(path) for path in python_files() if left.search(path.read_text())] == []

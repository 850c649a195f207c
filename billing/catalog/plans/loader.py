"""Read catalog.yaml strictly: each error names its place, and nothing is guessed."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from billing.catalog.plans.spec import CatalogSpec

DEFAULT_FILE: Final = Path(__file__).resolve().parents[3] / "catalog.yaml"


class CatalogError(Exception):
    """The catalog file cannot be used; the message lists every place and reason."""


class _StrictLoader(yaml.SafeLoader):
    """A loader that refuses duplicate keys, of which YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise CatalogError(f"line {node.start_mark.line + 1}: {key!r} appears twice")
        return super().construct_mapping(node, deep)


def read(path: Path = DEFAULT_FILE) -> CatalogSpec:
    """Return the catalog in a file. Raises CatalogError."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path.name}: not UTF-8: byte {error.start + 1}") from error
    except CatalogError as error:
        raise CatalogError(f"{path.name}: {error}") from error


def parse(text: str) -> CatalogSpec:
    """Return the catalog in a text. Raises CatalogError."""
    try:
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
        return CatalogSpec.model_validate(content or {})
    except yaml.YAMLError as error:
        raise CatalogError(f"not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise CatalogError("\n".join(_line(dict(entry)) for entry in error.errors())) from error


def _line(entry: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in entry["loc"] if part != "[key]")
    words = str(entry["msg"]).removeprefix("Value error, ")
    words, _, _ = words.partition(" or instance of ")  # a class of ours, which no reader knows
    return f"{place}: {words}" if place else words

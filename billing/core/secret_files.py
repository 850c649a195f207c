"""Secrets from files, as containers mount them: `<NAME>_FILE` names the file with `NAME`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic_settings import SettingsError

SUFFIX: Final = "_FILE"


def read_secrets(names: Iterable[str], environment: Mapping[str, str | None]) -> dict[str, str]:
    """Return the secrets that files contain. Errors: SettingsError, with every fault."""
    found: dict[str, str] = {}
    faults: list[str] = []
    for name in names:
        path = environment.get(name + SUFFIX)
        if not path:
            continue
        if environment.get(name):
            faults.append(f"{name} and {name}{SUFFIX} are both set: unset one")
            continue
        try:
            found[name] = Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{name}{SUFFIX} cannot be read: {getattr(error, 'strerror', 'no text')}")
            continue
        if not found[name]:
            faults.append(f"{name}{SUFFIX} names an empty file")
    if faults:
        raise SettingsError("\n".join(faults))
    return found

"""Finds variables that look like settings of ours and are none, as most are misspelt, and settings
that a later release takes away.
"""

import logging
import os
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from dotenv import dotenv_values
from pydantic import AliasChoices

from billing.core.secret_files import SUFFIX
from billing.core.settings import Settings

_PREFIX: Final = "BILLING_"
# Read by the commands, or by the tests, without Settings.
_OTHERS: Final = ("BILLING_TOKEN", "BILLING_URL", "BILLING_FAILPOINTS")
_LIKE: Final = 0.75
_OUTGOING: Final = {
    "rate_limit": "BILLING_RATE_LIMIT is taken away by release 0.3.0: set BILLING_RATE_LIMIT_MONEY,"
    " BILLING_RATE_LIMIT_READS and BILLING_RATE_LIMIT_METERING instead",
}
"""Settings of a release that a later one lacks, and what to do."""
_logger: Final = logging.getLogger("billing.settings")


def warn_of_names(settings: Settings) -> None:
    """Log each variable of the environment or of `.env` that looks like a setting and is none, or
    that a later release takes away.
    """
    given = {*os.environ, *dotenv_values(".env")}
    for words in (*misspelt(given), *outgoing(settings)):
        _logger.warning("%s", words)


def names() -> set[str]:
    """Return the environment variable of every setting."""
    found: set[str] = set()
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        found |= {
            str(one).upper()
            for one in (alias.choices if isinstance(alias, AliasChoices) else [alias or field])
        }
    return found


def file_names() -> set[str]:
    """Return the environment variable of the file of every secret."""
    return {name + SUFFIX for name in Settings.secret_names()}


def misspelt(given: Iterable[str]) -> list[str]:
    """Return a sentence for each variable that begins with BILLING_ and is no setting."""
    known = names() | file_names()
    strange = {name.upper() for name in given if name.upper().startswith(_PREFIX)} - known.union(
        _OTHERS
    )
    return [_words(name, known) for name in sorted(strange)]


def outgoing(settings: Settings) -> list[str]:
    """Return a sentence for each setting that is set and that a later release takes away."""
    return [words for field, words in _OUTGOING.items() if getattr(settings, field)]


def _words(name: str, known: set[str]) -> str:
    # Some names have no prefix: a name with a wrong prefix is like the one without it.
    bare = name.removeprefix(_PREFIX)
    near = [bare] if bare in known else get_close_matches(name, sorted(known), 1, _LIKE)
    meant = f": did you mean {near[0]}?" if near else ""
    return f"{name} is no setting and changes nothing{meant}"

"""The form of a database's address. Pure: checking it loads no driver."""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

_DRIVER: Final = re.compile(r"postgresql(\+psycopg)?://")
FORM: Final = "postgresql+psycopg://role:password@host:5432/billing"


def faults(urls: Mapping[str, SecretStr | None]) -> Iterator[str]:
    """Yield a sentence, without the password, for each address that cannot be used."""
    for name, url in urls.items():
        if url is not None and not _is_url(url.get_secret_value()):
            yield f"{name} is not a Postgres URL: write {FORM}"


def _is_url(url: str) -> bool:
    try:
        port = urlsplit(url).port
    except ValueError:  # a port that is no number
        return False
    return bool(_DRIVER.match(url)) and port != 0

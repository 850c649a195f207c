"""The shop of a platform that an account stands for."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def shop_name(domain: str) -> str:
    """Return the shop's host; a text that names no host stands for itself."""
    return shop_host(domain) or domain.strip().lower()


def shop_host(domain: str) -> str | None:
    """Return the one spelling of a shop's host, whatever address or script it was written in; None
    if the text names no host.
    """
    address = unquote(domain).strip()
    try:
        host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
        # Browsers take wide letters, other dots and invisible signs for the same host.
        name = host.encode("idna").decode().lower().rstrip(".")
    except ValueError:
        return None
    return name if _HOST.fullmatch(name) else None

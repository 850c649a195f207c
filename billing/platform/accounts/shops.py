"""The shop of a platform that an account stands for."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def shop_name(domain: str) -> str:
    """Return the shop's host; a text that names no host stands for itself."""
    return shop_host(domain) or domain.strip().lower()


def shop_host(domain: str) -> str | None:
    """Return the one spelling of a shop's host, whatever address or script it was written in; None
    if the text names no host.
    """
    address = unquote(domain).strip()
    try:
        is_bare = not _SCHEME.match(address)
        parts = urlsplit(f"//{address}" if is_bare else address)
        # `x:shop.example`, `https:/shop.example`: the word before the colon is no host.
        if "\\" in address or (parts.port is None and parts.netloc.endswith(":")):
            return None
        # Browsers take wide letters, other dots and invisible signs for the same host.
        name = (parts.hostname or "").encode("idna").decode().lower().rstrip(".")
    except ValueError:
        return None
    # `x/shop.example`: the word before the slash is no host either.
    if is_bare and "." not in name and (parts.path or parts.query or parts.fragment):
        return None
    return name if _HOST.fullmatch(name) else None

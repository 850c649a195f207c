"""Addresses that other machines can reach, as opposed to local ones."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_reachable(url: str) -> bool:
    """False for a local address, and for none at all."""
    try:
        host = urlsplit(url).hostname or "localhost"
    except ValueError:
        return False
    return not (host == "localhost" or host.endswith(".localhost") or _is_local_address(host))


def _is_local_address(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified

"""The settings of the sandbox, from its environment.

One frozen record, read once at start; nothing else in this package looks at `os.environ`.
"""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

API_VERSION = "2026-10-28.endive"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)


@dataclass(frozen=True)
class Settings:
    """Settings of one sandbox process."""

    database: Path = Path("sandbox.db")
    """The SQLite file; made when missing."""
    webhook_url: str = ""
    """URL to which events are posted; empty means nobody listens."""
    webhook_events: frozenset[str] = frozenset()
    """The types the endpoint listens to, as one chooses them at Stripe; none named: all."""
    webhook_secret: str = "whsec_sandbox"  # noqa: S105  the stand-in guards nothing
    """The whole string, prefix included, is the signing key."""
    paypal_webhook_url: str = ""
    """URL to which PayPal's events are posted; empty means nobody listens."""
    paypal_webhook_id: str = "WH-SANDBOX"
    """The name of that webhook, which PayPal's signatures have in them."""
    public_url: str = "http://127.0.0.1:12111"
    """The address hosted pages are linked under, without a slash at the end."""
    spec: Path | None = None
    """An OpenAPI document to hold requests and answers against, or none."""
    conformance: bool = False
    """Check each request and answer against the installed SDK and record violations."""
    networks: tuple[Network, ...] = field(default=LOOPBACK)
    """Client addresses served; everything else gets 403."""


def listens(settings: Settings, kind: str) -> bool:
    """True if events of `kind` are posted anywhere."""
    chosen = settings.webhook_events
    return bool(settings.webhook_url) and (not chosen or kind in chosen)


def from_environment() -> Settings:
    """Read `SANDBOX_*`; a malformed network raises `ValueError` at start."""
    read = os.environ.get
    spec = read("SANDBOX_SPEC", "")
    events = [part.strip() for part in read("SANDBOX_WEBHOOK_EVENTS", "").split(",")]
    trusted = [part for part in read("SANDBOX_TRUSTED_NETWORKS", "").split(",") if part.strip()]
    networks = tuple(ipaddress.ip_network(part.strip()) for part in trusted)
    return Settings(
        database=Path(read("SANDBOX_DATABASE", "sandbox.db")),
        webhook_url=read("SANDBOX_WEBHOOK_URL", ""),
        webhook_events=frozenset(events) - {"", "*"},
        webhook_secret=read("SANDBOX_WEBHOOK_SECRET", Settings.webhook_secret),
        paypal_webhook_url=read("SANDBOX_PAYPAL_WEBHOOK_URL", ""),
        paypal_webhook_id=read("SANDBOX_PAYPAL_WEBHOOK_ID", Settings.paypal_webhook_id),
        public_url=read("SANDBOX_PUBLIC_URL", Settings.public_url).rstrip("/"),
        spec=Path(spec) if spec else None,
        conformance=read("SANDBOX_CONFORMANCE", "") == "1",
        networks=LOOPBACK + networks,
    )


def is_ours(settings: Settings, authority: str) -> bool:
    """True for the address or name under which this program is called. A page of another site can
    make a browser here call it under that site's name, which has a dot.
    """
    try:
        host = urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return False
    if host == urlsplit(settings.public_url).hostname:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "" and "." not in host
    return True


def admits(networks: tuple[Network, ...], host: str) -> bool:
    """True if a client address belongs to one of the networks."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address.version == net.version and address in net for net in networks)

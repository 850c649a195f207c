"""Checks that `return_url` points to an allowed host."""

from urllib.parse import urlsplit

from api.dependencies import Call
from billing.core.errors import Invalid


def check_return(call: Call, return_url: str | None) -> None:
    """Refuse a page whose host the setting does not list. Errors: VALIDATION_FAILED."""
    hosts = call.settings.return_url_hosts
    if return_url and hosts and urlsplit(return_url).hostname not in hosts:
        raise Invalid("VALIDATION_FAILED", "return_url: this host is not allowed")

"""Checks that `return_url` points to an allowed host."""

from urllib.parse import urlsplit

from api.calls import Call
from billing.core.errors import wrong_field


def check_return(call: Call, return_url: str | None) -> None:
    """Refuse a page whose host the setting does not list. Errors: VALIDATION_FAILED."""
    hosts = call.settings.return_url_hosts
    if return_url and hosts and urlsplit(return_url).hostname not in hosts:
        raise wrong_field("return_url", "this host is not allowed")

"""Settings of the API: callers' tokens, addresses, limits and the pages that may call it."""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import AliasChoices, BaseModel, Field, SecretStr

from billing.core.setting_groups.forms import Networks, Port, Words, split_secrets

_SHARED: Final = "HS256"
_ALGORITHMS: Final = (_SHARED, "RS256", "ES256")
SANDBOX_PAY_LINK_SECRET: Final = "pay_link_sandbox"  # noqa: S105 - known to all
# As browsers send it: without a path, in lower case.
_ORIGIN: Final = re.compile(r"https?://[^/?#@\sA-Z]+")
_ADDRESS: Final = re.compile(r"https?://[^/?#@\s]")
# As a request names it, and as `urlsplit` does: in lower case, IPv6 without brackets.
_HOST: Final = re.compile(r"\[[0-9a-fA-F:.]+\]|[^/:@\s*?#]+")
_NAME: Final = re.compile(r"[0-9a-f:.]+|[^/:@\s*?#\[\]A-Z]+")


class TokenSettings(BaseModel):
    """The tokens of callers."""

    # Of two, the first signs and both are accepted.
    jwt_secret: SecretStr | None = None
    # Production accepts tokens signed with the shared secret only if this is true.
    allow_hs256: bool = Field(False, validation_alias="BILLING_ALLOW_HS256")
    jwt_algorithms: Words = (_SHARED,)
    jwt_jwks_url: str | None = None
    jwt_audience: str = "durable-billing"
    jwt_issuer: str = "durable-billing"

    @property
    def jwt_secrets(self) -> list[str]:
        """Secrets that may have signed a token; two during a rotation."""
        return split_secrets(self.jwt_secret) if self.jwt_secret else []

    def token_faults(self) -> Iterator[str]:
        """Yield what would accept a token that the settings do not allow."""
        if not all(self.jwt_secrets):
            yield "JWT_SECRET has an extra comma: anybody could sign tokens"
        if unknown := [one for one in self.jwt_algorithms if one not in _ALGORITHMS]:
            words = f"{', '.join(unknown)} is not one of {', '.join(_ALGORITHMS)}"
            yield f"JWT_ALGORITHMS: {words}"
        elif self.jwt_secrets and not self.jwt_jwks_url and _SHARED not in self.jwt_algorithms:
            yield f"JWT_ALGORITHMS does not allow {_SHARED}, by which JWT_SECRET checks tokens"


class WebSettings(BaseModel):
    """The address of the API, its limits, and who may call it."""

    service_host: str = Field(
        "127.0.0.1",
        validation_alias=AliasChoices("BILLING_SERVICE_HOST", "BILLING_SERVICE_SERVICE_HOST"),
    )
    service_port: Port = Field(8080, validation_alias="BILLING_SERVICE_PORT")
    # Signs previews and links to payment pages: the first signs, all are accepted.
    pay_link_secret: SecretStr = Field(
        SecretStr(SANDBOX_PAY_LINK_SECRET), validation_alias="BILLING_PAY_LINK_SECRET"
    )
    public_url: str = Field("http://127.0.0.1:8080", validation_alias="BILLING_PUBLIC_URL")
    # Per caller and class of routes; the first one, if set, applies to every class.
    rate_limit: str | None = Field(None, validation_alias="BILLING_RATE_LIMIT")
    rate_limit_money: str = Field("60/minute", validation_alias="BILLING_RATE_LIMIT_MONEY")
    rate_limit_reads: str = Field("1200/minute", validation_alias="BILLING_RATE_LIMIT_READS")
    rate_limit_metering: str = Field("6000/minute", validation_alias="BILLING_RATE_LIMIT_METERING")

    # Host names of the API; empty: any, outside of production.
    hosts: Words = Field((), validation_alias="BILLING_HOSTS")
    # Proxies trusted for a caller's address and scheme: addresses and networks.
    trusted_proxies: Networks = Field((), validation_alias="BILLING_TRUSTED_PROXIES")

    # Origins whose pages may call the API from a browser, such as https://shop.example.
    cors_origins: Words = Field((), validation_alias="BILLING_CORS_ORIGINS")

    # Hosts to which a payer may return; empty: any, outside of production.
    return_url_hosts: Words = Field((), validation_alias="BILLING_RETURN_URL_HOSTS")

    @property
    def pay_link_secrets(self) -> list[str]:
        """Secrets that may have signed a link; two during a rotation."""
        return split_secrets(self.pay_link_secret)

    def web_faults(self) -> Iterator[str]:
        """Yield each address, origin or name that is none."""
        if not _ADDRESS.match(self.public_url):
            yield f"BILLING_PUBLIC_URL: {self.public_url} is no address like https://shop.example"
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                yield f"BILLING_CORS_ORIGINS: {origin} is not an origin such as https://shop.example"
        for name, hosts, form in (
            ("BILLING_HOSTS", self.hosts, _HOST),
            ("BILLING_RETURN_URL_HOSTS", self.return_url_hosts, _NAME),
        ):
            for host in hosts:
                if not form.fullmatch(host):
                    yield f"{name}: {host} is not a name alone, in lower case, such as shop.example"

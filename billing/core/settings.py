"""Every setting of the product, read from the environment once per process.

Names are the ones operators know from `.env.example`; secrets never appear in a repr.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from typing import Annotated, Any, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    FilePath,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from billing.core import database_urls
from billing.core.reachable import is_reachable
from billing.core.secret_files import read_secrets

Profile = Literal["default", "test"]
VERSION: Final = version("durable-billing")
"""The installed version, from pyproject.toml."""


PRODUCTION: Final = "production"
SANDBOX_KEY: Final = "sk_test_sandbox"
SANDBOX_PUBLISHABLE_KEY: Final = "pk_test_sandbox"
SANDBOX_WEBHOOK_SECRET: Final = "whsec_sandbox"  # noqa: S105 - the stand-in's, known to all
SANDBOX_PAY_LINK_SECRET: Final = "pay_link_sandbox"  # noqa: S105 - known to all
MIN_HMAC_BYTES: Final = 32
# Fewer different characters are a pattern, which can be guessed.
_MIN_DIFFERENT: Final = 8
# As browsers send it: without a path, in lower case.
_ORIGIN: Final = re.compile(r"https?://[^/?#@\sA-Z]+")
PAYPAL_URL: Final = "https://api-m.paypal.com"


def _listed(value: Any) -> Any:
    """Parse a list as operators write it: `0,3,7`, or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _each(secrets: SecretStr) -> list[str]:
    """Split secrets at commas; surrounding spaces are removed."""
    return [one.strip() for one in secrets.get_secret_value().split(",")]


# Any other value is refused: a misspelt `production` would start without its checks.
Environment = Annotated[Literal["development", "production"], BeforeValidator(str.lower)]
KeptDays = Annotated[int, Field(ge=0, le=36_500)]
Threshold = Annotated[int | None, BeforeValidator(lambda sent: None if sent == "off" else sent)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """Settings shared by API, worker and CLI; every field is one environment variable."""

    # Errors never show values, which may be secrets. An empty value counts as unset.
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    env: Environment = "development"
    billing_enabled: bool = True
    profile: Profile = Field("default", validation_alias="BILLING_PROFILE")
    log_level: str = Field("INFO", validation_alias="BILLING_LOG_LEVEL")

    # PostgreSQL: three roles, so that a bug in one cannot use the rights of another.
    database_url: SecretStr = SecretStr("postgresql+psycopg://billing_app@127.0.0.1:5433/billing")
    database_operator_url: SecretStr | None = None
    database_owner_url: SecretStr | None = None
    database_schema: str = "public"
    database_pool_size: int = Field(20, ge=1, validation_alias="BILLING_DATABASE_POOL_SIZE")
    database_prepare_threshold: Threshold = Field(
        5, validation_alias="BILLING_DATABASE_PREPARE_THRESHOLD"
    )
    replica_database_url: SecretStr | None = None

    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "billing"
    temporal_tls: bool = False
    temporal_api_key: SecretStr | None = None
    # PEM files: the CA of Temporal's certificate, and our certificate and key for mutual TLS.
    temporal_tls_ca_path: FilePath | None = None
    temporal_tls_client_cert_path: FilePath | None = None
    temporal_tls_client_key_path: FilePath | None = None
    # The name in its certificate, if it differs from the address.
    temporal_tls_server_name: str | None = None
    build_id: str | None = Field(None, validation_alias="BILLING_BUILD_ID")

    stripe_secret_key: SecretStr = SecretStr(SANDBOX_KEY)
    stripe_publishable_key: str = SANDBOX_PUBLISHABLE_KEY
    stripe_webhook_secret: SecretStr = SecretStr(SANDBOX_WEBHOOK_SECRET)
    stripe_api_base: str | None = None
    # The stand-in's address for browsers, if it differs.
    stripe_public_base: str | None = None
    stripe_api_version: str | None = None

    # Of two, the first signs and both are accepted.
    jwt_secret: SecretStr | None = None
    # Production accepts tokens signed with the shared secret only if this is true.
    allow_hs256: bool = Field(False, validation_alias="BILLING_ALLOW_HS256")
    jwt_algorithms: Words = ("HS256",)
    jwt_jwks_url: str | None = None
    jwt_audience: str = "durable-billing"
    jwt_issuer: str = "durable-billing"

    service_host: str = Field(
        "127.0.0.1",
        validation_alias=AliasChoices("BILLING_SERVICE_HOST", "BILLING_SERVICE_SERVICE_HOST"),
    )
    service_port: int = Field(8080, validation_alias="BILLING_SERVICE_PORT")
    # Signs previews and links to payment pages: the first signs, all are accepted.
    pay_link_secret: SecretStr = Field(
        SecretStr(SANDBOX_PAY_LINK_SECRET), validation_alias="BILLING_PAY_LINK_SECRET"
    )
    public_url: str = Field("http://127.0.0.1:8080", validation_alias="BILLING_PUBLIC_URL")
    api_metrics_port: int = Field(9464, validation_alias="BILLING_API_METRICS_PORT")
    worker_metrics_port: int = Field(9465, validation_alias="BILLING_WORKER_METRICS_PORT")
    # A collector of traces (OTLP over HTTP), such as http://collector:4318; unset: no traces.
    otlp_endpoint: str | None = Field(None, validation_alias="BILLING_OTLP_ENDPOINT")
    # Per caller and class of routes; the first one, if set, applies to every class.
    rate_limit: str | None = Field(None, validation_alias="BILLING_RATE_LIMIT")
    rate_limit_money: str = Field("60/minute", validation_alias="BILLING_RATE_LIMIT_MONEY")
    rate_limit_reads: str = Field("1200/minute", validation_alias="BILLING_RATE_LIMIT_READS")
    rate_limit_metering: str = Field("6000/minute", validation_alias="BILLING_RATE_LIMIT_METERING")

    # Prices from a product service instead of the catalog, if its address is set [B15].
    product_service_url: str | None = None
    product_service_timeout_seconds: float = Field(2.0, gt=0, le=30)
    product_service_cache_seconds: float = Field(60.0, ge=0)
    product_service_stale_seconds: float = Field(86_400.0, ge=0)

    # The EU's register of VAT ids; without its address no id is proven, and tax is charged.
    vies_url: str | None = Field(None, validation_alias="BILLING_VIES_URL")

    # The source of tax rates: the catalog, or Stripe Tax with the catalog as fallback.
    tax_provider: Literal["catalog", "stripe"] = Field(
        "catalog", validation_alias="BILLING_TAX_PROVIDER"
    )

    # PayPal besides Stripe; not offered without a client id.
    paypal_client_id: str = Field("", validation_alias="BILLING_PAYPAL_CLIENT_ID")
    paypal_client_secret: SecretStr = Field(
        SecretStr(""), validation_alias="BILLING_PAYPAL_CLIENT_SECRET"
    )
    paypal_url: str = Field(PAYPAL_URL, validation_alias="BILLING_PAYPAL_URL")
    paypal_webhook_id: str = Field("", validation_alias="BILLING_PAYPAL_WEBHOOK_ID")

    # Host names of the API; empty: any, outside of production.
    hosts: Words = Field((), validation_alias="BILLING_HOSTS")
    # Proxies trusted for a caller's address and scheme: addresses and networks.
    trusted_proxies: Networks = Field((), validation_alias="BILLING_TRUSTED_PROXIES")

    # Origins whose pages may call the API from a browser, such as https://shop.example.
    cors_origins: Words = Field((), validation_alias="BILLING_CORS_ORIGINS")

    # Hosts to which a payer may return; empty: any, outside of production.
    return_url_hosts: Words = Field((), validation_alias="BILLING_RETURN_URL_HOSTS")

    trial_days: int = 14
    trial_credits: int = 500
    purchase_expiry_hours: int = Field(24, validation_alias="BILLING_PURCHASE_EXPIRY_HOURS")
    manual_expiry_days: int = Field(14, validation_alias="BILLING_MANUAL_EXPIRY_DAYS")
    cycle_credits_at: Literal["payment", "start"] = Field(
        "payment", validation_alias="BILLING_CYCLE_CREDITS_AT"
    )
    expiry_notice_days: int = Field(7, ge=1, le=90, validation_alias="BILLING_EXPIRY_NOTICE_DAYS")
    # True: publish an event for each recorded use, not only for reached thresholds.
    publish_usage: bool = Field(False, validation_alias="BILLING_PUBLISH_USAGE")
    manual_four_eyes: bool = Field(False, validation_alias="BILLING_MANUAL_FOUR_EYES")

    # Days of real time that these are kept; 0: forever. Financial records are never deleted.
    retention_inbox_days: KeptDays = Field(90, validation_alias="BILLING_RETENTION_INBOX_DAYS")
    retention_outbox_days: KeptDays = Field(30, validation_alias="BILLING_RETENTION_OUTBOX_DAYS")
    retention_claims_days: KeptDays = Field(7, validation_alias="BILLING_RETENTION_CLAIMS_DAYS")

    @classmethod
    def secret_names(cls) -> dict[str, str]:
        """Return the key of each secret's field by environment variable."""
        keys = (
            str(info.validation_alias or field)
            for field, info in cls.model_fields.items()
            if SecretStr in (info.annotation, *get_args(info.annotation))
        )
        return {key.upper(): key for key in keys}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[Any, ...]:
        environment = {
            name.upper(): value
            for source in (dotenv_settings, env_settings)
            if isinstance(source, EnvSettingsSource)
            for name, value in source.env_vars.items()
        }

        def files() -> dict[str, Any]:
            keys = cls.secret_names()
            return {keys[name]: read for name, read in read_secrets(keys, environment).items()}

        return init_settings, env_settings, dotenv_settings, files, file_secret_settings

    @model_validator(mode="after")
    def _may_start(self) -> Self:
        found = list(self._faults())
        if self.env == PRODUCTION:
            found += [f"ENV=production: {fault}" for wrong, fault in self._unfit() if wrong]
        if found:
            raise ValueError("\n".join(found))
        return self

    def _faults(self) -> Iterator[str]:
        names = ("database_url", "database_operator_url", "database_owner_url",
                 "replica_database_url")  # fmt: skip
        yield from database_urls.faults({name.upper(): getattr(self, name) for name in names})
        if self.has_live_stripe and self.stripe_api_base:
            yield "a live Stripe key is only for Stripe: unset STRIPE_API_BASE or use sk_test_…"
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                yield f"BILLING_CORS_ORIGINS: {origin} is not an origin such as https://shop.example"
        rest = (self.paypal_client_secret.get_secret_value(), self.paypal_webhook_id)
        if self.paypal_client_id and not all(rest):
            yield (
                "BILLING_PAYPAL_CLIENT_ID is set: set BILLING_PAYPAL_CLIENT_SECRET and"
                " BILLING_PAYPAL_WEBHOOK_ID too"
            )
        if bool(self.temporal_tls_client_cert_path) != bool(self.temporal_tls_client_key_path):
            yield "set TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH together"
        if not all(self.jwt_secrets):
            yield "JWT_SECRET has an extra comma: anybody could sign tokens"
        for name, secrets, doing in (
            ("STRIPE_WEBHOOK_SECRET", self.webhook_secrets, "sign events"),
            ("BILLING_PAY_LINK_SECRET", self.pay_link_secrets, "sign links"),
        ):
            if not all(secrets):
                yield f"{name} is empty or has an extra comma: anybody could {doing}"

    def _unfit(self) -> Iterator[tuple[bool, str]]:
        """Yield settings that are acceptable in development but insecure in production."""
        key = self.stripe_secret_key.get_secret_value()
        yield key in ("", SANDBOX_KEY), "set STRIPE_SECRET_KEY to the key of your Stripe account"
        yield (
            self.stripe_publishable_key in ("", SANDBOX_PUBLISHABLE_KEY),
            "set STRIPE_PUBLISHABLE_KEY to the publishable key of your Stripe account",
        )
        yield (
            SANDBOX_WEBHOOK_SECRET in self.webhook_secrets,
            "set STRIPE_WEBHOOK_SECRET to the secret of your endpoint at Stripe",
        )
        links = [secret for secret in self.pay_link_secrets if secret]
        yield (
            SANDBOX_PAY_LINK_SECRET in links or any(map(_guessable, links)),
            "set BILLING_PAY_LINK_SECRET to a random text of your own",
        )
        if self.jwt_secrets and not self.jwt_jwks_url:
            yield from self._unfit_shared_secrets()
        yield not self.hosts, "set BILLING_HOSTS to the host names of the API"
        yield "*" in self.cors_origins, "list BILLING_CORS_ORIGINS by name: * allows every page"
        yield (
            not is_reachable(self.public_url),
            "set BILLING_PUBLIC_URL to the address at which payers reach this service",
        )
        yield not self.return_url_hosts, "set BILLING_RETURN_URL_HOSTS to the hosts of return_url"
        yield self.stripe_api_base is not None, "unset STRIPE_API_BASE: it points to a stand-in"
        yield self.profile == "test", "unset BILLING_PROFILE=test"
        for name, url in (
            ("JWT_JWKS_URL", self.jwt_jwks_url),
            ("BILLING_PAYPAL_URL", self.paypal_url),
            ("BILLING_VIES_URL", self.vies_url),
        ):
            yield not (url or "https://").startswith("https://"), f"{name} must begin with https://"
        yield (
            self._one_role,
            "DATABASE_URL and DATABASE_OPERATOR_URL use one role: it would see all accounts",
        )

    def _unfit_shared_secrets(self) -> Iterator[tuple[bool, str]]:
        reason = "JWT_SECRET lets everybody who verifies tokens sign them"
        yield not self.allow_hs256, f"{reason}: set JWT_JWKS_URL, or BILLING_ALLOW_HS256=true"
        yield (
            any(len(one.encode()) < MIN_HMAC_BYTES or _guessable(one) for one in self.jwt_secrets),
            f"set JWT_SECRET to a random text of at least {MIN_HMAC_BYTES} bytes",
        )

    @property
    def _one_role(self) -> bool:
        urls = (self.database_url, self.operator_url)
        return len({urlsplit(url.get_secret_value()).username for url in urls}) == 1

    @property
    def temporal_tls_parts(self) -> dict[str, Any] | None:
        """The client's TLS parameters; None without TLS. An API key or a certificate always implies
        TLS.
        """
        files = {
            "server_root_ca_cert": self.temporal_tls_ca_path,
            "client_cert": self.temporal_tls_client_cert_path,
            "client_private_key": self.temporal_tls_client_key_path,
        }
        parts: dict[str, Any] = {name: path.read_bytes() for name, path in files.items() if path}
        if self.temporal_tls_server_name:
            parts["domain"] = self.temporal_tls_server_name
        wanted = self.temporal_tls or self.temporal_api_key is not None or bool(parts)
        return parts if wanted else None

    @property
    def has_live_stripe(self) -> bool:
        """True if Stripe charges real money."""
        return self.stripe_secret_key.get_secret_value().startswith(("sk_live_", "rk_live_"))

    @property
    def takes_paypal(self) -> bool:
        """True if payers may pay by PayPal."""
        return bool(self.paypal_client_id)

    @property
    def has_live_paypal(self) -> bool:
        """True if PayPal charges real money."""
        return self.paypal_url.rstrip("/") == PAYPAL_URL

    @property
    def jwt_secrets(self) -> list[str]:
        """Secrets that may have signed a token; two during a rotation."""
        return _each(self.jwt_secret) if self.jwt_secret else []

    @property
    def webhook_secrets(self) -> list[str]:
        """Secrets that may have signed an event; two during a rotation."""
        return _each(self.stripe_webhook_secret)

    @property
    def pay_link_secrets(self) -> list[str]:
        """Secrets that may have signed a link; two during a rotation."""
        return _each(self.pay_link_secret)

    @property
    def service_version(self) -> str:
        """The build's version, as the API, its document and the worker's logs state it."""
        return VERSION

    @property
    def operator_url(self) -> SecretStr:
        """The role that sees all accounts; the app role in set-ups with one role."""
        return self.database_operator_url or self.database_url


@lru_cache
def load_settings() -> Settings:
    """Return the process-wide settings; end the process with all faults if it may not start."""
    try:
        return Settings()
    except ValidationError as error:
        raise SystemExit(reasons(error)) from None
    except SettingsError as error:
        raise SystemExit(str(error)) from None


def reasons(error: ValidationError) -> str:
    """Return every fault of the settings, one per line."""
    return "\n".join(map(_reason, error.errors(include_url=False)))


def _reason(error: ErrorDetails) -> str:
    name = "".join(map(str, error["loc"][:1])).upper()
    words = error["msg"].removeprefix("Value error, ")
    return f"{name}: {words}" if name else words


def _guessable(secret: str) -> bool:
    return len(set(secret)) < _MIN_DIFFERENT

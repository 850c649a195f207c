"""Every setting of the product, read from the environment once per process.

Names are the ones operators know from `.env.example`; secrets never appear in a repr. The fields of
one purpose stand together, in `setting_groups/`.
"""

from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from billing.core import database_urls
from billing.core.profile import Profile
from billing.core.reachable import is_reachable
from billing.core.secret_files import read_secrets
from billing.core.setting_groups.forms import Port
from billing.core.setting_groups.providers import (
    SANDBOX_KEY,
    SANDBOX_PUBLISHABLE_KEY,
    SANDBOX_WEBHOOK_SECRET,
    PayPalSettings,
    ProductServiceSettings,
    StripeSettings,
    TaxSettings,
)
from billing.core.setting_groups.selling import (
    ComparingSettings,
    RetentionSettings,
    SellingSettings,
)
from billing.core.setting_groups.servers import DatabaseSettings, TemporalSettings
from billing.core.setting_groups.web import SANDBOX_PAY_LINK_SECRET, TokenSettings, WebSettings

VERSION: Final = version("durable-billing")
"""The installed version, from pyproject.toml: that of the API, its document and the logs."""

PRODUCTION: Final = "production"
MIN_HMAC_BYTES: Final = 32
# Fewer different characters are a pattern, which can be guessed.
_MIN_DIFFERENT: Final = 8

# Any other value is refused: a misspelt `production` would start without its checks.
Environment = Annotated[Literal["development", "production"], BeforeValidator(str.lower)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL", "NOTSET"],
    BeforeValidator(str.upper),
]


class Settings(
    DatabaseSettings,
    TemporalSettings,
    StripeSettings,
    PayPalSettings,
    TaxSettings,
    ProductServiceSettings,
    TokenSettings,
    WebSettings,
    SellingSettings,
    ComparingSettings,
    RetentionSettings,
    BaseSettings,
):
    """Settings shared by API, worker and CLI; every field is one environment variable."""

    # Errors never show values, which may be secrets. An empty value counts as unset.
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    env: Environment = "development"
    billing_enabled: bool = True
    profile: Profile = Field("default", validation_alias="BILLING_PROFILE")
    log_level: LogLevel = Field("INFO", validation_alias="BILLING_LOG_LEVEL")
    api_metrics_port: Port = Field(9464, validation_alias="BILLING_API_METRICS_PORT")
    worker_metrics_port: Port = Field(9465, validation_alias="BILLING_WORKER_METRICS_PORT")
    # A collector of traces (OTLP over HTTP), such as http://collector:4318; unset: no traces.
    otlp_endpoint: str | None = Field(None, validation_alias="BILLING_OTLP_ENDPOINT")

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
        yield from self.stripe_faults()
        if self.has_live_stripe and self.stripe_api_base:
            yield "a live Stripe key is only for Stripe: unset STRIPE_API_BASE or use sk_test_…"
        yield from self.web_faults()
        rest = (self.paypal_client_secret.get_secret_value(), self.paypal_webhook_id)
        if self.paypal_client_id and not all(rest):
            yield (
                "BILLING_PAYPAL_CLIENT_ID is set: set BILLING_PAYPAL_CLIENT_SECRET and"
                " BILLING_PAYPAL_WEBHOOK_ID too"
            )
        if bool(self.temporal_tls_client_cert_path) != bool(self.temporal_tls_client_key_path):
            yield "set TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH together"
        yield from self.token_faults()
        for name, secrets, doing in (
            ("STRIPE_WEBHOOK_SECRET", self.webhook_secrets, "sign events"),
            ("BILLING_PAY_LINK_SECRET", self.pay_link_secrets, "sign links"),
        ):
            if not all(secrets):
                yield f"{name} is empty or has an extra comma: anybody could {doing}"

    def _unfit(self) -> Iterator[tuple[bool, str]]:
        """Yield settings that are acceptable in development but insecure in production."""
        yield from self._unfit_stripe()
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
        yield self.profile == "test", "unset BILLING_PROFILE=test"
        for name, url in (
            ("JWT_JWKS_URL", self.jwt_jwks_url),
            ("BILLING_PAYPAL_URL", self.paypal_url),
            ("BILLING_VIES_URL", self.vies_url),
        ):
            yield not (url or "https://").startswith("https://"), f"{name} must begin with https://"
        yield (
            self.has_one_role,
            "DATABASE_URL and DATABASE_OPERATOR_URL use one role: it would see all accounts",
        )

    def _unfit_stripe(self) -> Iterator[tuple[bool, str]]:
        key = self.stripe_secret_key.get_secret_value()
        yield key in ("", SANDBOX_KEY), "set STRIPE_SECRET_KEY to the key of your Stripe account"
        yield (
            self.stripe_publishable_key in ("", SANDBOX_PUBLISHABLE_KEY),
            "set STRIPE_PUBLISHABLE_KEY to the publishable key of your Stripe account",
        )
        yield (
            "" not in (key, self.stripe_publishable_key)
            and self.has_live_stripe != self.stripe_publishable_key.startswith("pk_live_"),
            "STRIPE_SECRET_KEY and STRIPE_PUBLISHABLE_KEY are of two modes, test and live",
        )
        yield (
            SANDBOX_WEBHOOK_SECRET in self.webhook_secrets,
            "set STRIPE_WEBHOOK_SECRET to the secret of your endpoint at Stripe",
        )
        yield self.stripe_api_base is not None, "unset STRIPE_API_BASE: it points to a stand-in"

    def _unfit_shared_secrets(self) -> Iterator[tuple[bool, str]]:
        reason = "JWT_SECRET lets everybody who verifies tokens sign them"
        yield not self.allow_hs256, f"{reason}: set JWT_JWKS_URL, or BILLING_ALLOW_HS256=true"
        yield (
            any(len(one.encode()) < MIN_HMAC_BYTES or _guessable(one) for one in self.jwt_secrets),
            f"set JWT_SECRET to a random text of at least {MIN_HMAC_BYTES} bytes",
        )


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

"""Settings of the providers: payments, taxes, prices."""

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import BaseModel, Field, SecretStr

from billing.core.setting_groups.forms import split_secrets

SANDBOX_KEY: Final = "sk_test_sandbox"
SANDBOX_PUBLISHABLE_KEY: Final = "pk_test_sandbox"
SANDBOX_WEBHOOK_SECRET: Final = "whsec_sandbox"  # noqa: S105 - the stand-in's, known to all
PAYPAL_URL: Final = "https://api-m.paypal.com"


class StripeSettings(BaseModel):
    """Stripe, or its stand-in."""

    stripe_secret_key: SecretStr = SecretStr(SANDBOX_KEY)
    stripe_publishable_key: str = SANDBOX_PUBLISHABLE_KEY
    stripe_webhook_secret: SecretStr = SecretStr(SANDBOX_WEBHOOK_SECRET)
    stripe_api_base: str | None = None
    # The stand-in's address for browsers, if it differs.
    stripe_public_base: str | None = None
    # What the pinned SDK speaks (docs/rules/provider.md).
    stripe_api_version: Literal["2026-10-28.endive"] | None = None

    @property
    def has_live_stripe(self) -> bool:
        """True if Stripe charges real money."""
        return self.stripe_secret_key.get_secret_value().startswith(("sk_live_", "rk_live_"))

    @property
    def webhook_secrets(self) -> list[str]:
        """Secrets that may have signed an event; two during a rotation."""
        return split_secrets(self.stripe_webhook_secret)

    def stripe_faults(self) -> Iterator[str]:
        """Yield each key that is not of its kind: the publishable one is given to everybody."""
        for name, keys, forms in (
            ("STRIPE_SECRET_KEY", [self.stripe_secret_key.get_secret_value()], ("sk_", "rk_")),
            ("STRIPE_PUBLISHABLE_KEY", [self.stripe_publishable_key], ("pk_",)),
            ("STRIPE_WEBHOOK_SECRET", self.webhook_secrets, ("whsec_",)),
        ):
            if not all(key.startswith(forms) for key in filter(None, keys)):
                yield f"{name} must begin with {' or '.join(forms)}"


class PayPalSettings(BaseModel):
    """PayPal besides Stripe; not offered without a client id."""

    paypal_client_id: str = Field("", validation_alias="BILLING_PAYPAL_CLIENT_ID")
    paypal_client_secret: SecretStr = Field(
        SecretStr(""), validation_alias="BILLING_PAYPAL_CLIENT_SECRET"
    )
    paypal_url: str = Field(PAYPAL_URL, validation_alias="BILLING_PAYPAL_URL")
    paypal_webhook_id: str = Field("", validation_alias="BILLING_PAYPAL_WEBHOOK_ID")

    @property
    def takes_paypal(self) -> bool:
        """True if payers may pay by PayPal."""
        return bool(self.paypal_client_id)

    @property
    def has_live_paypal(self) -> bool:
        """True if PayPal charges real money."""
        return self.paypal_url.rstrip("/") == PAYPAL_URL


class TaxSettings(BaseModel):
    """Sources of tax rates and VAT ids."""

    # The EU's register of VAT ids; without its address no id is proven, and tax is charged.
    vies_url: str | None = Field(None, validation_alias="BILLING_VIES_URL")

    # The source of tax rates: the catalog, or Stripe Tax with the catalog as fallback.
    tax_provider: Literal["catalog", "stripe"] = Field(
        "catalog", validation_alias="BILLING_TAX_PROVIDER"
    )


class ProductServiceSettings(BaseModel):
    """Prices from a product service instead of the catalog, if its address is set [B15]."""

    product_service_url: str | None = None
    product_service_timeout_seconds: float = Field(2.0, gt=0, le=30)
    product_service_cache_seconds: float = Field(60.0, ge=0)
    product_service_stale_seconds: float = Field(86_400.0, ge=0)

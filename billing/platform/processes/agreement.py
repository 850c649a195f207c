"""The settings in which all processes of one installation must agree, without any secret."""

import re
from typing import Final
from urllib.parse import urlsplit

from billing.core.settings import Settings
from billing.platform.processes.schemas import ACCOUNT, MODE, SWITCH

# Stripe writes the id of the account into its newer keys, after the mode.
_KEY: Final = re.compile(r"[a-z]+_(?P<mode>test|live)_(?:51(?P<account>[A-Za-z0-9]{14}))?")


def agreed(settings: Settings) -> dict[str, str]:
    """Return what the others must have too: Stripe's host, the key's mode and account, Temporal's
    namespace, and what decides whether and what is charged or granted.
    """
    base = settings.stripe_api_base
    key = _KEY.match(settings.stripe_secret_key.get_secret_value())
    account = key["account"] if key is not None else None
    return {
        "Stripe's address": urlsplit(base).netloc or base if base else "api.stripe.com",
        MODE: key["mode"] if key is not None else "unknown",
        "Temporal's namespace": settings.temporal_namespace,
        SWITCH: str(settings.billing_enabled).lower(),
        "BILLING_CYCLE_CREDITS_AT": settings.cycle_credits_at,
        "BILLING_TAX_PROVIDER": settings.tax_provider,
    } | ({ACCOUNT: f"acct_1{account}"} if account else {})

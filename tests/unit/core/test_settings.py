"""Settings that would make a production of open doors are refused with a sentence."""

import pytest
from pydantic import ValidationError

from billing.core.settings import Settings

SAFE = {
    "env": "production",
    "stripe_secret_key": "sk_live_abc",
    "stripe_webhook_secret": "whsec_of_our_own",
    "BILLING_PAY_LINK_SECRET": "a-secret-of-our-own",
    "jwt_jwks_url": "https://login.example/keys",
    "database_url": "postgresql://billing_app:x@db/billing",
    "database_operator_url": "postgresql://billing_operator:x@db/billing",
}


def test_a_production_of_its_own_secrets_starts() -> None:
    assert Settings.model_validate(SAFE).env == "production"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stripe_secret_key": "sk_test_sandbox"}, "STRIPE_SECRET_KEY"),
        ({"stripe_secret_key": ""}, "STRIPE_SECRET_KEY"),
        ({"stripe_webhook_secret": "whsec_sandbox"}, "STRIPE_WEBHOOK_SECRET"),
        ({"stripe_webhook_secret": "whsec_new,whsec_sandbox"}, "STRIPE_WEBHOOK_SECRET"),
        ({"stripe_webhook_secret": ""}, "comma too many"),
        ({"stripe_webhook_secret": "whsec_new,"}, "comma too many"),
        ({"BILLING_PAY_LINK_SECRET": "pay_link_sandbox"}, "BILLING_PAY_LINK_SECRET"),
        ({"BILLING_PAY_LINK_SECRET": "new,"}, "comma too many"),
        ({"jwt_jwks_url": "http://login.example/keys"}, "JWT_JWKS_URL"),
        ({"BILLING_PROFILE": "test"}, "BILLING_PROFILE"),
        ({"database_operator_url": "postgresql://billing_app:x@db/billing"}, "one role"),
        ({"stripe_secret_key": "sk_test_x", "stripe_api_base": "http://x"}, "STRIPE_API_BASE"),
        ({"stripe_api_base": "http://x"}, "Stripe only"),
    ],
)
def test_a_production_with_an_open_door_does_not_start(changed: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate(SAFE | changed)


def test_an_empty_secret_of_webhooks_is_refused_everywhere() -> None:
    with pytest.raises(ValidationError, match="anybody could sign events"):
        Settings.model_validate({"stripe_webhook_secret": "whsec_x,"})


@pytest.mark.parametrize("written", ["0,3,7", " 0, 3 ,7", "[0, 3, 7]"])
def test_lists_are_written_with_commas_or_as_json(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("DUNNING_SCHEDULE_DAYS", written)
    monkeypatch.setenv("JWT_ALGORITHMS", "RS256,ES256")
    found = Settings()
    assert found.dunning_schedule_days == (0, 3, 7)
    assert found.jwt_algorithms == ("RS256", "ES256")

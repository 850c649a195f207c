"""Settings that would make a production of open doors are refused with a sentence."""

import re
from pathlib import Path
from typing import Any

import pytest
import stripe
from pydantic import ValidationError

from billing.core.settings import Settings, load_settings
from devstack.options import ROOT

SAFE: dict[str, Any] = {
    "env": "production",
    "stripe_secret_key": "sk_live_abc",
    "stripe_publishable_key": "pk_live_abc",
    "stripe_webhook_secret": "whsec_of_our_own",
    "BILLING_PUBLIC_URL": "https://billing.example",
    "BILLING_RETURN_URL_HOSTS": "shop.example",
    "BILLING_PAY_LINK_SECRET": "a-secret-of-our-own",
    "jwt_jwks_url": "https://login.example/keys",
    "BILLING_HOSTS": "billing.example",
    "database_url": "postgresql://billing_app:x@db/billing",
    "database_operator_url": "postgresql://billing_operator:x@db/billing",
}


EXAMPLES = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M))

SHARED = {"jwt_jwks_url": None, "jwt_secret": "gT5-a-random-text-of-our-own-kq0Z3vW8"}
"""Tokens by the shared secret instead."""


def test_a_production_of_its_own_secrets_starts() -> None:
    assert Settings.model_validate(SAFE).env == "production"
    assert Settings.model_validate(SAFE | SHARED | {"BILLING_ALLOW_HS256": True}).allow_hs256


def test_every_reason_not_to_start_is_told_at_once_and_no_secret_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "ENV": "production",
        "STRIPE_WEBHOOK_SECRET": "whsec_of_our_own,",
        "JWT_SECRET": "not-for-any-eye",
        "BILLING_PROFILE": "test",
        "DATABASE_URL": "postgresql://billing_app:hidden@db/billing",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        load_settings.__wrapped__()
    lines = str(refused.value).splitlines()
    for name in (
        "STRIPE_WEBHOOK_SECRET",
        "STRIPE_SECRET_KEY",
        "STRIPE_PUBLISHABLE_KEY",
        "BILLING_PAY_LINK_SECRET",
        "BILLING_PUBLIC_URL",
        "BILLING_RETURN_URL_HOSTS",
        "BILLING_ALLOW_HS256",
        "JWT_SECRET to a random text",
        "BILLING_HOSTS",
        "BILLING_PROFILE",
        "DATABASE_OPERATOR_URL",
    ):
        assert sum(name in line for line in lines) == 1, (name, lines)
    assert len(lines) == 11
    assert not {"whsec_of_our_own", "not-for-any-eye", "hidden"} & set(str(refused.value).split())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BILLING_SERVICE_PORT", "eighty", "Input should be a valid integer.*"),
        ("BILLING_SERVICE_PORT", "70000", "Input should be less than or equal to 65535"),
        ("BILLING_LOG_LEVEL", "loud", "Input should be 'DEBUG', 'INFO', .*"),
        ("STRIPE_API_VERSION", "2020-01-01", f"Input should be '{stripe.api_version}'"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        load_settings.__wrapped__()
    assert re.fullmatch(f"{name}: {words}", str(refused.value))


def test_log_levels_and_the_version_of_the_sdk_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_LOG_LEVEL", "warn")
    monkeypatch.setenv("STRIPE_API_VERSION", stripe.api_version)
    assert Settings().log_level == "WARN"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stripe_secret_key": "sk_test_sandbox"}, "STRIPE_SECRET_KEY"),
        ({"stripe_secret_key": ""}, "STRIPE_SECRET_KEY"),
        ({"stripe_publishable_key": "pk_test_sandbox"}, "STRIPE_PUBLISHABLE_KEY"),
        ({"stripe_publishable_key": ""}, "STRIPE_PUBLISHABLE_KEY"),
        ({"BILLING_PUBLIC_URL": "http://127.0.0.1:8080"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_PUBLIC_URL": "https://localhost"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_PUBLIC_URL": "https://api.localhost/"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_PUBLIC_URL": "http://127.8.0.1"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_PUBLIC_URL": "http://[::1]:8080"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_PUBLIC_URL": "http://0.0.0.0:8080"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_PUBLIC_URL": "billing.example"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_PUBLIC_URL": "http://[oops"}, "BILLING_PUBLIC_URL"),
        ({"BILLING_RETURN_URL_HOSTS": ""}, "BILLING_RETURN_URL_HOSTS"),
        ({"stripe_webhook_secret": "whsec_sandbox"}, "STRIPE_WEBHOOK_SECRET"),
        ({"stripe_webhook_secret": "whsec_new,whsec_sandbox"}, "STRIPE_WEBHOOK_SECRET"),
        ({"stripe_webhook_secret": ""}, "extra comma"),
        ({"stripe_webhook_secret": "whsec_new,"}, "extra comma"),
        ({"stripe_webhook_secret": "whsec_new, "}, "extra comma"),
        ({"BILLING_PAY_LINK_SECRET": "pay_link_sandbox"}, "BILLING_PAY_LINK_SECRET"),
        ({"BILLING_PAY_LINK_SECRET": "new,"}, "extra comma"),
        ({"jwt_jwks_url": "http://login.example/keys"}, "JWT_JWKS_URL"),
        ({"BILLING_PROFILE": "test"}, "BILLING_PROFILE"),
        ({"database_operator_url": "postgresql://billing_app:x@db/billing"}, "one role"),
        ({"stripe_secret_key": "sk_test_x", "stripe_api_base": "http://x"}, "STRIPE_API_BASE"),
        ({"stripe_api_base": "http://x"}, "only for Stripe"),
        ({"database_operator_url": None}, "one role"),
        ({"BILLING_PAY_LINK_SECRET": "abcabcabcabcabcabc"}, "BILLING_PAY_LINK_SECRET"),
        ({"BILLING_PAYPAL_URL": "http://x"}, "BILLING_PAYPAL_URL"),
        ({"BILLING_VIES_URL": "http://x"}, "BILLING_VIES_URL"),
        ({"BILLING_HOSTS": ""}, "BILLING_HOSTS"),
        ({"stripe_publishable_key": "pk_test_abc"}, "of two modes, test and live"),
        ({"BILLING_CORS_ORIGINS": "https://shop.example,*"}, "BILLING_CORS_ORIGINS"),
        (SHARED, "BILLING_ALLOW_HS256"),
        (SHARED | {"jwt_secret": "short", "BILLING_ALLOW_HS256": True}, "JWT_SECRET .* 32 bytes"),
        (SHARED | {"jwt_secret": "x" * 40, "BILLING_ALLOW_HS256": True}, "JWT_SECRET .* random"),
    ],
)
def test_a_production_with_an_open_door_does_not_start(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate(SAFE | changed)


def test_an_empty_secret_of_webhooks_is_refused_everywhere() -> None:
    with pytest.raises(ValidationError, match="anybody could sign events"):
        Settings.model_validate({"stripe_webhook_secret": "whsec_x,"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("STRIPE_SECRET_KEY", "pk_test_x", " must begin with sk_ or rk_"),
        ("STRIPE_PUBLISHABLE_KEY", "sk_test_x", " must begin with pk_"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_x,sk_test_x", " must begin with whsec_"),
        ("BILLING_HOSTS", "a.example,https://b.example", ": https://b.example is not a name alone"),
        ("BILLING_HOSTS", "b.example:443", ": b.example:443 is not a name alone"),
        ("BILLING_HOSTS", "*.example", ": *.example is not a name alone"),
        ("BILLING_RETURN_URL_HOSTS", "https://b.example", ": https://b.example is not a name"),
        ("BILLING_RETURN_URL_HOSTS", "B.example", ": B.example is not a name alone"),
        ("BILLING_RETURN_URL_HOSTS", "b.example,[::1]", ": [::1] is not a name alone"),
        ("JWT_ALGORITHMS", "none", ": none is not one of HS256, RS256, ES256"),
        ("JWT_ALGORITHMS", "RS256,rs512", ": rs512 is not one of HS256, RS256, ES256"),
    ],
)
def test_a_key_of_another_kind_or_an_address_for_a_name_is_refused_everywhere(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        load_settings.__wrapped__()
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{name}{words}")
    assert "sk_test_x" not in line


def test_a_secret_whose_algorithm_is_not_allowed_is_refused() -> None:
    allowed = {"jwt_algorithms": ("RS256",), "jwt_secret": "a-secret"}
    with pytest.raises(ValidationError, match="JWT_ALGORITHMS does not allow HS256"):
        Settings.model_validate(allowed)
    found = Settings.model_validate(allowed | {"jwt_jwks_url": "https://login.example/keys"})
    assert found.jwt_algorithms == ("RS256",), "the provider's keys check, and not the secret"


def test_names_of_hosts_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_HOSTS", "Shop.example,[::1],127.0.0.1")
    monkeypatch.setenv("BILLING_RETURN_URL_HOSTS", "shop.example,::1,127.0.0.1")
    assert load_settings.__wrapped__().return_url_hosts == ("shop.example", "::1", "127.0.0.1")


@pytest.mark.parametrize("env", ["prod", "staging", ""])
def test_an_environment_that_nobody_knows_is_refused(env: str) -> None:
    with pytest.raises(ValidationError, match="'development' or 'production'"):
        Settings.model_validate({"env": env})


def test_production_is_production_however_it_is_written() -> None:
    with pytest.raises(ValidationError, match="ENV=production: "):
        Settings.model_validate({"env": "Production"})


@pytest.mark.parametrize("sent", ["-1", "0", "10000000000000"])
@pytest.mark.parametrize(
    "name",
    ["TRIAL_DAYS", "TRIAL_CREDITS", "BILLING_PURCHASE_EXPIRY_HOURS", "BILLING_MANUAL_EXPIRY_DAYS"],
)
def test_no_trial_or_purchase_ends_as_it_begins(
    monkeypatch: pytest.MonkeyPatch, name: str, sent: str
) -> None:
    monkeypatch.setenv(name, sent)
    with pytest.raises(ValidationError, match=f"(?i){name}"):
        Settings()


@pytest.mark.parametrize("written", ["shop.a,shop.b", " shop.a, shop.b ", '["shop.a", "shop.b"]'])
def test_lists_are_written_with_commas_or_as_json(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("BILLING_HOSTS", written)
    monkeypatch.setenv("JWT_ALGORITHMS", "RS256,ES256")
    found = Settings()
    assert found.hosts == ("shop.a", "shop.b")
    assert found.jwt_algorithms == ("RS256", "ES256")


def test_a_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "JWT_SECRET": "a-secret-in-a-file",
        "DATABASE_URL": "postgresql://billing_app:in-a-file@db/billing",
        "BILLING_PAY_LINK_SECRET": "new-link, old-link",
    }.items():
        (tmp_path / name).write_text(f"{value}\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    found = Settings()
    assert found.jwt_secrets == ["a-secret-in-a-file"]
    assert found.pay_link_secrets == ["new-link", "old-link"]
    assert "in-a-file" in found.database_url.get_secret_value()
    assert found.stripe_secret_key.get_secret_value() == "sk_test_sandbox"


def test_a_secret_in_two_places_or_in_no_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JWT_SECRET", "by-value")
    monkeypatch.setenv("JWT_SECRET_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("STRIPE_SECRET_KEY_FILE", str(tmp_path / "missing"))
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET_FILE", str(tmp_path / "empty"))
    with pytest.raises(SystemExit) as refused:
        load_settings.__wrapped__()
    assert sorted(str(refused.value).splitlines()) == [
        "JWT_SECRET and JWT_SECRET_FILE are both set: unset one",
        "STRIPE_SECRET_KEY_FILE cannot be read: No such file or directory",
        "STRIPE_WEBHOOK_SECRET_FILE names an empty file",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_commented_line_of_the_example_shows_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(name, raising=False)
    unset = Settings()
    monkeypatch.setenv(name, EXAMPLES[name])
    assert Settings() == unset


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_empty_value_is_an_unset_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(name, raising=False)
    unset = Settings()
    monkeypatch.setenv(name, "")
    assert Settings() == unset
    monkeypatch.delenv(name)
    Path(".env").write_text(f"{name}=\n")
    assert Settings() == unset


@pytest.mark.parametrize(("said", "threshold"), [("off", None), ("7", 7), ("", 5)])
def test_nothing_is_prepared_behind_a_pooler(
    monkeypatch: pytest.MonkeyPatch, said: str, threshold: int | None
) -> None:
    monkeypatch.setenv("BILLING_DATABASE_PREPARE_THRESHOLD", said)
    assert Settings().database_prepare_threshold == threshold

"""A variable that looks like a setting and is none is named, with the setting that was meant."""

import pytest

from billing.core.setting_names import misspelt, outgoing
from tests.unit.api.conftest import lonely_settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BILLING_HOST", "BILLING_HOSTS"),
        ("BILLING_RETENTION_OUTBOX_DAY", "BILLING_RETENTION_OUTBOX_DAYS"),
        ("billing_enable", "BILLING_ENABLED"),
        ("BILLING_TRIAL_DAYS", "TRIAL_DAYS"),
        ("BILLING_PAY_LINK_SECRETS_FILE", "BILLING_PAY_LINK_SECRET_FILE"),
    ],
)
def test_the_nearest_setting_is_named(name: str, meant: str) -> None:
    assert misspelt([name]) == [
        f"{name.upper()} is no setting and changes nothing: did you mean {meant}?"
    ]


def test_a_name_that_is_like_none_is_still_named() -> None:
    assert misspelt(["BILLING_XYZZY"]) == ["BILLING_XYZZY is no setting and changes nothing"]


def test_settings_and_variables_of_others_are_not_named() -> None:
    ours = ["BILLING_HOSTS", "billing_enabled", "BILLING_PAY_LINK_SECRET_FILE", "BILLING_TOKEN"]
    assert misspelt([*ours, "PATH", "STRIPE_SECRET_KEY", "BILLING_SERVICE_SERVICE_HOST"]) == []


def test_one_rate_for_all_classes_is_told_to_go_with_the_settings_to_use_instead() -> None:
    (words,) = outgoing(lonely_settings(BILLING_RATE_LIMIT="600/minute"))
    assert words == (
        "BILLING_RATE_LIMIT is taken away by release 0.3.0: set BILLING_RATE_LIMIT_MONEY,"
        " BILLING_RATE_LIMIT_READS and BILLING_RATE_LIMIT_METERING instead"
    )


def test_the_rates_of_the_classes_stay() -> None:
    assert (
        outgoing(lonely_settings(BILLING_RATE_LIMIT=None, BILLING_RATE_LIMIT_MONEY="9/minute"))
        == []
    )

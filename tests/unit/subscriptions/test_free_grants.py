"""Credits that plans without a price have granted, as decisions read them."""

from billing.money.subscriptions.free_grants import FreeGrant


def test_a_grant_of_a_cycle_says_its_day() -> None:
    for key, day in (
        ("acc_1/plan-2026-2027-01-01", "2027-01-01"),
        ("acc_1/plan-2027-01-01/not-kept", "2027-01-01"),
        ("chg_1/grant", "None"),
    ):
        found = FreeGrant.model_validate(
            {"grant_key": key, "amount": "1", "at": "2027-01-05T00:00:00Z"}
        )
        assert str(found.day) == day

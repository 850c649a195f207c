"""Tax rates that are known before the day from which they hold."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.catalog.taxes.changes import CurrentTaxes, compare
from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.catalog.taxes.spec import JurisdictionSpec, TaxesSpec

WRITTEN = {
    "name": "USt",
    "rates": {"standard": "19"},
    "later": [
        {"since": "2027-07-01", "rates": {"standard": "20"}},
        {"since": "2028-01-01", "rates": {"standard": "21"}},
    ],
}


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        (datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC), "19"),
        (datetime(2027, 7, 1, tzinfo=UTC), "20"),
        (datetime(2027, 12, 31, 23, tzinfo=UTC), "20"),
        (datetime(2028, 1, 1, tzinfo=UTC), "21"),
    ],
)
def test_a_rate_holds_from_its_day_until_the_next_one(at: datetime, rate: str) -> None:
    known = Taxation(jurisdictions=(Jurisdiction.model_validate(WRITTEN | {"key": "DE"}),))
    assert known.at(at).jurisdictions[0].rates == {"standard": Decimal(rate)}


def test_a_rate_to_come_is_a_change_of_the_catalog() -> None:
    now = Jurisdiction(key="DE", name="USt", rates={"standard": Decimal(19)})
    wanted = TaxesSpec(jurisdictions={"DE": JurisdictionSpec.model_validate(WRITTEN)})
    [change] = compare(wanted, CurrentTaxes({"DE": now}))
    assert change.words == (
        "tax DE: USt standard 19 %, from 2027-07-01 standard 20 %,"
        " from 2028-01-01 standard 21 %; drafts from now on"
    )
    same = Jurisdiction.model_validate(WRITTEN | {"key": "DE"})
    assert compare(wanted, CurrentTaxes({"DE": same})) == []


def test_days_of_rates_ascend() -> None:
    twice = [WRITTEN["later"][0], WRITTEN["later"][0]]  # type: ignore[index]
    with pytest.raises(ValueError, match="since"):
        JurisdictionSpec.model_validate(WRITTEN | {"later": twice})

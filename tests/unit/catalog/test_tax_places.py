"""Tax is collected for countries that there are, and for their regions."""

import pytest
from pydantic import ValidationError

from billing.catalog.taxes.spec import TaxesSpec

RATES = {"name": "VAT", "rates": {"standard": "20"}}


@pytest.mark.parametrize("place", ["DE", "CA-QC", "GR"])
def test_a_tax_is_of_a_country_or_of_its_region(place: str) -> None:
    assert TaxesSpec.model_validate({"jurisdictions": {place: RATES}}).jurisdictions[place].rates


@pytest.mark.parametrize("place", ["ZZ", "ZZ-1", "EL", "UK", "de"])
def test_a_tax_of_no_country_is_refused(place: str) -> None:
    with pytest.raises(ValidationError):
        TaxesSpec.model_validate({"jurisdictions": {place: RATES}})


def test_only_a_regions_tax_replaces_its_countrys() -> None:
    instead = RATES | {"instead_of_country": True}
    assert TaxesSpec.model_validate({"jurisdictions": {"CA-ON": instead}}).jurisdictions
    with pytest.raises(ValidationError, match="only a region's tax"):
        TaxesSpec.model_validate({"jurisdictions": {"CA": instead}})


@pytest.mark.parametrize("currency", ["ERU", "eur", "EURO"])
def test_prices_of_no_known_currency_hold_no_tax(currency: str) -> None:
    assert TaxesSpec.model_validate({"included_in": ["EUR"]}).included_in == ("EUR",)
    with pytest.raises(ValidationError):
        TaxesSpec.model_validate({"included_in": [currency]})

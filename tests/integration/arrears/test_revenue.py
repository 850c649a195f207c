"""Statistics tell revenue in money beside that in credits: cards' and invoices', once it is in."""

from tests.integration.actors import Actors
from tests.integration.arrears.test_single_charges import use

DAYS = "/stats?start_date=2027-01-01&end_date=2027-02-10"


async def test_money_of_cards_and_of_invoiced_overage_is_revenue_by_currency(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.save_card()
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    beyond = {"feature_type": "api_calls", "usage_amount": "10500"}
    await customer.ask("POST", "/usage/record", beyond, status=201)
    await use(customer)
    told = await customer.ask("GET", DAYS)
    by_card = {
        "total": "2.00", "by_service": {"model_inference": "2.00"},
        "by_method": {"payment_charge": "2.00"},
    }  # fmt: skip
    assert told["revenue_by_currency"] == {"USD": by_card}
    await customer.advance(days=32)
    told = await customer.ask("GET", DAYS)
    assert told["revenue_by_currency"]["USD"]["total"] == "3.00"
    assert told["revenue_by_currency"]["USD"]["by_method"] == {
        "payment_charge": "2.00", "subscription_included": "1.00",
    }  # fmt: skip
    by_service = told["revenue_by_currency"]["USD"]["by_service"]
    assert by_service == {"model_inference": "2.00", "features": "1.00"}
    assert told["pending_billing_records"] == 0
    assert (told["total_revenue"], told["revenue_by_service"]) == ("0", {})

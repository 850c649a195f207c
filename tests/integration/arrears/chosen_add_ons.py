"""The add-ons of a subscription, and the AI answers that plan and add-ons include."""

from typing import Any

from tests.integration.actors import Customer

SUBSCRIPTION = "/billing/subscription"


async def choose(customer: Customer, **wanted: int) -> Any:
    """Have these add-ons and no others."""
    add_ons = [
        {"add_on": key.replace("_", "-"), "quantity": count} for key, count in wanted.items()
    ]
    return await customer.ask("PUT", SUBSCRIPTION, {"add_ons": add_ons}, status=200)


async def included(customer: Customer) -> tuple[str, str]:
    """Included AI answers, as usage is rated and as entitlements say."""
    (row,) = await customer.rows(
        "SELECT p.limits -> 'ai_responses' ->> 'included' AS included FROM usage_periods p"
        " JOIN credit_balances b ON b.period_id = p.id WHERE b.account_id = %(me)s"
    )
    shown = await customer.ask("GET", "/billing/entitlements/ai_responses")
    return row["included"], shown["limit"]["included"]

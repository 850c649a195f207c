"""Counts the rows that the release before does not know, and what it would do to them.

It renews, charges or ignores them as if this release had never answered its customers, or ends at
them. What it knows it goes on with: see docs/deploy.md.
"""

from typing import Final, NamedTuple

from sqlalchemy import text

from billing.core.database import open_database
from billing.core.settings import Settings
from billing.core.transaction_settings import WHOLE_TABLE_MS, limit_statements

BEFORE: Final = "0.1.0"


class Unknown(NamedTuple):
    """Rows that the release before does not know."""

    rows: str
    then: str
    """Its mistake with them."""
    found: str
    """Selects them, in SQL after SELECT count(*)."""


_OPEN: Final = "FROM subscriptions WHERE ended_at IS NULL AND"
_BY_PERCENTAGE: Final = "model = 'percentage' AND (effective_to IS NULL OR effective_to > now())"
_TAXED: Final = "SELECT subscription_id FROM invoices WHERE tax_minor > 0"
_SEATS: Final = (
    "SELECT subscription_id FROM subscription_items WHERE kind = 'plan' AND quantity > 1"
)
_GIVING: Final = (
    "SELECT id FROM plans WHERE monthly_credits > 0 AND NOT seats @> '{\"credits\": false}'"
)
_IN_USE: Final = "SELECT plan_id FROM subscriptions WHERE ended_at IS NULL"
_TIERS: Final = """prices.* ? (@.type() == "object")'"""
UNKNOWN: Final = (
    Unknown(
        "refunds and disputes under way", "its rebuild and its sweep fail at them, for all others",
        "FROM matters WHERE kind = 'reversal' AND closed_at IS NULL",
    ),
    Unknown(
        "billing is parked", "it moves money",
        "FROM parkings WHERE ended_at IS NULL",
    ),
    Unknown(
        "subscriptions that end at a date", "it renews and charges them",
        f"{_OPEN} cancel_at IS NOT NULL",
    ),
    Unknown(
        "purchases to be canceled for their buyers", "it sees their payments through",
        "FROM purchases p JOIN invoices i ON i.id = p.invoice_id"
        " WHERE p.status = 'pending' AND i.cancel_asked_at IS NOT NULL",
    ),
    Unknown(
        "customers whose recovery is paused", "it recovers what comes to be owed",
        "FROM dunning_pauses",
    ),
    Unknown(
        "pauses, plans, prices and add-ons to come", "it renews and charges what was before",
        "FROM subscription_changes WHERE status IN ('pending', 'scheduled')",
    ),
    Unknown(
        "subscriptions that are sent invoices", "it charges their cards",
        f"{_OPEN} collection = 'send_invoice'",
    ),
    Unknown(
        "open invoices that are sent", "it charges their payers' cards",
        "FROM invoices WHERE status IN ('draft', 'open') AND collection = 'send_invoice'",
    ),
    Unknown(
        "subscriptions with a card of their own", "it charges the default card",
        f"{_OPEN} payment_method_id IS NOT NULL",
    ),
    Unknown(
        "subscriptions with a contract, a minimum or a commitment", "it does not charge these",
        f"{_OPEN} (num_nonnulls(contract_id, minimum_minor, commitment) > 0"
        " OR minimums_unbilled <> '[]')",
    ),
    Unknown(
        "discounts that apply", "it charges the whole price",
        "FROM discounts WHERE status IN ('reserved', 'active')",
    ),
    Unknown(
        "subscriptions that are charged tax", "it charges none",
        f"{_OPEN} id IN ({_TAXED})",
    ),
    Unknown(
        "payments open at PayPal", "it does not see them through",
        "FROM payments WHERE flow = 'paypal'"
        " AND status IN ('pending', 'pending_approval', 'processing')",
    ),
    Unknown(
        "payments whose rest goes back", "it keeps it on the money balance",
        "FROM payments WHERE rest_refund IS NOT NULL AND settled_at IS NULL AND status IN"
        " ('pending', 'pending_approval', 'processing', 'succeeded', 'completed')",
    ),
    Unknown(
        "saved bank accounts", "it charges them as cards",
        "FROM payment_methods WHERE provider_kind <> 'card' AND status = 'active'",
    ),
    Unknown(
        "prices by percentage", "it refuses uses of their products",
        f"FROM product_prices WHERE {_BY_PERCENTAGE}",
    ),
    Unknown(
        "agreed prices by percentage", "it refuses the account's uses of their products",
        f"FROM price_overrides WHERE {_BY_PERCENTAGE}",
    ),
    Unknown(
        "plans with other prices of use beyond them than one per unit",
        "it lists no plan, and can neither read nor renew their subscribers",
        f"FROM plans WHERE (is_current OR id IN ({_IN_USE}))"
        f" AND jsonb_path_exists(limits, '$[*].{_TIERS})",
    ),
    Unknown(
        "agreed limits with such prices", "it can do nothing for their accounts",
        "FROM limit_overrides WHERE (effective_to IS NULL OR effective_to > now())"
        f" AND jsonb_path_exists(prices, '$.{_TIERS.removeprefix('prices.')})",
    ),
    Unknown(
        "subscriptions of several seats with credits", "it grants those of one",
        f"{_OPEN} id IN ({_SEATS}) AND plan_id IN ({_GIVING})",
    ),
    Unknown(
        "credits that roll over", "it ends them with their cycle",
        "FROM credit_lots WHERE is_open AND num_nonnulls(cycle_end, kept_from) > 0",
    ),
    Unknown(
        "subscriptions that are unpaid", "it never ends them, and bills another period once paid",
        f"{_OPEN} status = 'unpaid'",
    ),
    Unknown(
        "drafts with a tax or a discount", "it numbers them in a way that no check knows",
        "FROM invoices WHERE status = 'draft' AND (tax_minor <> 0 OR discount_minor <> 0)",
    ),
    Unknown(
        "uses of before that are in a file", "it can record none, for it puts them beside these",
        "FROM month_files WHERE is_away AND month = '1970-01-01'",
    ),
    Unknown(
        "credits given back for voided uses", "it can neither list nor explain such entries",
        "FROM credit_transactions WHERE kind = 'void'",
    ),
)  # fmt: skip


async def unknown(settings: Settings) -> list[str]:
    """Return a line for each kind of rows of which there are some."""
    async with open_database(settings) as database, database.operator() as connection:
        await limit_statements(connection, WHOLE_TABLE_MS)
        counts = [
            (one, await connection.scalar(text(f"SELECT count(*) {one.found}"))) for one in UNKNOWN
        ]
    return [f"{one.rows} ({count}): {one.then}" for one, count in counts if count]

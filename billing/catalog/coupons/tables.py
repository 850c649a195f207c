"""Coupons: the discount behind a code, for whom, when and how often.

A coupon is never changed, only closed, so a discount keeps the terms it was redeemed with.
"""

from sqlalchemy import UniqueConstraint as Unique

from billing.core import columns as c

coupons = c.table(
    "coupons",
    c.row_id(),
    # In capital letters; lookups ignore case.
    c.text("code"),
    c.text("name"),
    c.amount("percent", nullable=True),
    # Or minor units by currency.
    c.json("amounts", server_default="{}"),
    # once; repeating: for `periods` periods; forever.
    c.text("duration"),
    c.integer("periods", nullable=True),
    # Limits it to these kinds of lines, and to these plans and packs; empty: all.
    c.json("kinds", server_default="[]"),
    c.json("sold", server_default="[]"),
    # For accounts that have paid nothing yet.
    c.flag("first_purchase", server_default="false"),
    # For accounts that an operator has verified as this, such as `student`.
    c.text("verified_as", nullable=True),
    c.integer("max_redemptions", nullable=True),
    c.integer("max_per_account", server_default="1"),
    # Includes redemptions reserved by undecided payments.
    c.integer("redeemed", server_default="0"),
    c.instant("valid_from", nullable=True),
    c.instant("valid_until", nullable=True),
    c.flag("is_active", server_default="true"),
    c.instant("created_at"),
    Unique("code"),
    c.check("(percent IS NULL) <> (amounts = '{}'::jsonb)", name="percent_or_amounts"),
    c.check("percent > 0 AND percent <= 100", name="percent_of_a_whole"),
    c.check("duration IN ('once', 'repeating', 'forever')", name="duration_known"),
    c.check("(duration = 'repeating') = (periods IS NOT NULL)", name="periods_repeat"),
    c.check("periods > 0 AND max_redemptions > 0 AND max_per_account > 0", name="counts_positive"),
    c.check("redeemed >= 0", name="redeemed_counted"),
)

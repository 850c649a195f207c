"""Discounts: redeemed coupons, each with the terms it was redeemed with, and where it stands."""

from billing.core import columns as c

discounts = c.table(
    "discounts",
    c.row_id(),
    c.account(),
    c.reference("coupon_id", "coupons.id"),
    # What it is taken off: all invoices of a subscription, or the one of a purchase.
    c.uuid("subscription_id", nullable=True),
    c.uuid("purchase_id", nullable=True),
    c.text("code"),
    c.amount("percent", nullable=True),
    # Minor units of the currency of what it is taken off.
    c.bigint("amount_minor", nullable=True),
    c.json("kinds", server_default="[]"),
    c.json("sold", server_default="[]"),
    # The invoices it is still good for; NULL: for ever.
    c.integer("periods_left", nullable=True),
    # reserved: until the first payment is decided; active; used up or ended; released: given back.
    c.text("status"),
    c.instant("created_at"),
    c.instant("ended_at", nullable=True),
    c.check("num_nonnulls(subscription_id, purchase_id) = 1", name="of_one_thing"),
    c.check("num_nonnulls(percent, amount_minor) = 1", name="percent_or_amount"),
    c.check("periods_left >= 0", name="periods_left_counted"),
    c.check("status IN ('reserved', 'active', 'ended', 'released')", name="status_known"),
    c.check("(status IN ('ended', 'released')) = (ended_at IS NOT NULL)", name="ended"),
    c.index("ix_discounts_account", "account_id", "created_at", "id"),
    c.index("ix_discounts_subscription", "subscription_id", where="subscription_id IS NOT NULL"),
    c.index("ix_discounts_purchase", "purchase_id", where="purchase_id IS NOT NULL"),
    c.index("ix_discounts_coupon", "coupon_id", "account_id"),
)

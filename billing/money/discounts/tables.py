"""Discounts: redeemed coupons, each with the terms it was redeemed with, and its status."""

from billing.core import columns as c

discounts = c.table(
    "discounts",
    c.row_id(),
    c.account(),
    c.reference("coupon_id", "coupons.id"),
    # Reduces all invoices of a subscription, or the one of a purchase.
    c.uuid("subscription_id", nullable=True),
    c.uuid("purchase_id", nullable=True),
    c.text("code"),
    c.amount("percent", nullable=True),
    # In minor units of the invoices' currency.
    c.bigint("amount_minor", nullable=True),
    c.json("kinds", server_default="[]"),
    c.json("sold", server_default="[]"),
    # If it came with a change: use of cycles that began earlier is not discounted.
    c.instant("use_since", nullable=True),
    # If the use of a period used it up: use of cycles that begin then or later is not discounted.
    c.instant("use_until", nullable=True),
    # The last period's invoice used it up for that period: its use does not do so again.
    c.flag("is_counted", server_default="false"),
    # It has discounted use since the last period's invoice: the next one uses it up.
    c.flag("is_used", server_default="false"),
    # The number of invoices it still reduces; NULL: for ever.
    c.integer("periods_left", nullable=True),
    # reserved: until the first payment is decided; active; used up or ended; released: unused.
    c.text("status"),
    c.instant("created_at"),
    c.instant("ended_at", nullable=True),
    c.same_account("subscription_id", "subscriptions"),
    c.same_account("purchase_id", "purchases", **c.LATE),
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

"""Tables of the catalog: versioned plans and prices, credit packs, costs of operations.

The terms of a row never change: a change writes the next version and moves the `is_current` mark,
so a subscription keeps what it bought (docs/rules/catalog.md). Packs and costs of operations are
changed in place; what an operation cost before is kept, for late uses.
"""

from sqlalchemy import UniqueConstraint as Unique

from billing.core import columns as c

plans = c.table(
    "plans",
    c.row_id(),
    c.text("key"),
    c.integer("version"),
    c.text("family"),
    c.text("name"),
    c.text("description", server_default=""),
    # An object of feature to true, a number or a text.
    c.json("features"),
    # A list of billing.catalog.plans.schemas.Limit.
    c.json("limits"),
    # A list of billing.catalog.plans.schemas.AddOn.
    c.json("add_ons", server_default="[]"),
    # billing.catalog.plans.schemas.Seats; none: sold once per subscription.
    c.json("seats", nullable=True),
    c.integer("trial_days", server_default="0"),
    c.amount("monthly_credits", server_default="0"),
    # Credits, limits and usage run in this interval from the same anchor, also under yearly prices.
    c.text("allowance_unit", server_default="month"),
    c.integer("allowance_count", server_default="1"),
    # Minor units by currency: a subscription's billing threshold when it is sold.
    c.json("billing_threshold", server_default="{}"),
    c.text("past_due_access", server_default="full"),
    # Minor units by currency: the maximum unpaid use; default: 100 whole units.
    c.json("unpaid_limit", server_default="{}"),
    c.text("trial_end_behavior", server_default="cancel"),
    # Days after which an `unpaid` subscription ends by itself.
    c.integer("unpaid_days", server_default="60"),
    # billing.catalog.plans.schemas.DunningPolicy and Rollover, as JSON.
    c.json("dunning"),
    c.json("rollover"),
    # billing.catalog.plans.schemas.Notices.
    c.json("notices", server_default="{}"),
    # The kind of goods, which decides the tax rate.
    c.text("tax_category", server_default="standard"),
    c.text("stripe_product_id", nullable=True),
    c.integer("position", server_default="0"),
    # Open to new subscribers; existing ones keep it either way [B3].
    c.flag("is_active"),
    c.flag("is_current"),
    c.instant("created_at"),
    Unique("key", "version"),
    c.check("trial_days >= 0", name="trial_days_not_negative"),
    c.check("unpaid_days > 0", name="unpaid_days_positive"),
    c.check("monthly_credits >= 0", name="monthly_credits_not_negative"),
    c.check("allowance_unit IN ('day', 'week', 'month', 'year')", name="allowance_unit"),
    c.check("allowance_count > 0", name="allowance_count_positive"),
    c.check("past_due_access IN ('full', 'no_new_overage', 'none')", name="past_due_access_known"),
    c.check(
        "trial_end_behavior IN ('cancel', 'pause', 'invoice')", name="trial_end_behavior_known"
    ),
    c.index("uq_plans_current", "key", unique=True, where="is_current"),
)

default_plan = c.table(
    "default_plan",
    # One row: the plan that an account without an open subscription has; null: none.
    c.flag("is_only", primary_key=True),
    c.text("plan_key", nullable=True),
    c.check("is_only", name="is_only"),
)

prices = c.table(
    "prices",
    c.row_id(),
    # 'plan' or 'pack', and the key of that plan or pack.
    c.text("kind"),
    c.text("key"),
    c.text("currency"),
    c.text("interval_unit", nullable=True),
    c.integer("interval_count", nullable=True),
    c.bigint("amount_minor"),
    # The minimum amount of a period, including all use in it.
    c.bigint("minimum_minor", nullable=True),
    c.integer("version"),
    c.text("stripe_price_id", nullable=True),
    c.flag("is_current"),
    c.instant("created_at"),
    c.check("kind IN ('plan', 'pack')", name="kind_known"),
    c.check("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
    c.check("amount_minor >= 0", name="amount_not_negative"),
    c.check(
        "minimum_minor > 0 AND kind = 'plan' OR minimum_minor IS NULL", name="minimum_of_plans"
    ),
    c.check(
        "(kind = 'plan') = (interval_unit IS NOT NULL)"
        " AND (interval_unit IS NULL) = (interval_count IS NULL)",
        name="interval_for_plans",
    ),
    c.check("interval_unit IN ('day', 'week', 'month', 'year')", name="interval_unit"),
    c.check("interval_count > 0", name="interval_count_positive"),
    Unique(
        "kind",
        "key",
        "currency",
        "interval_unit",
        "interval_count",
        "version",
        postgresql_nulls_not_distinct=True,
    ),
    c.index(
        "uq_prices_current",
        "kind",
        "key",
        "currency",
        "interval_unit",
        "interval_count",
        unique=True,
        postgresql_nulls_not_distinct=True,
        where="is_current",
    ),
)

credit_packages = c.table(
    "credit_packages",
    c.row_id(),
    c.text("key", unique=True),
    c.text("name"),
    c.text("description", server_default=""),
    # A purchase copies this number, so an edit affects later purchases only.
    c.amount("credits"),
    c.text("tax_category", server_default="standard"),
    c.integer("position", server_default="0"),
    c.flag("is_active"),
    c.instant("created_at"),
    c.check("credits > 0", name="credits_positive"),
)

credit_costs = c.table(
    "credit_costs",
    c.text("operation", primary_key=True),
    c.amount("cost"),
    c.flag("is_active"),
    c.instant("updated_at"),
    c.check("cost >= 0", name="cost_not_negative"),
)

# What an operation cost until a change of its row, since the row before it. One without a row
# before applies to all earlier use.
past_credit_costs = c.table(
    "past_credit_costs",
    c.text("operation", primary_key=True),
    c.instant("effective_to", primary_key=True),
    # Null: it had no cost.
    c.amount("cost", nullable=True),
    c.check("cost >= 0", name="cost_not_negative"),
    info={"append_only": True},
)

"""An account's plan over time: its period, its allowance cycle, and what is planned for it."""

from typing import Final

from sqlalchemy import DateTime
from sqlalchemy import UniqueConstraint as Unique

from billing.catalog.plans.rules import OPEN_STATUSES
from billing.core import columns as c
from billing.core.literals import texts

UNDECIDED: Final = ("pending", "scheduled")
"""Changes that wait for their payment or for their instant."""

subscriptions = c.table(
    "subscriptions",
    c.row_id(),
    c.account(),
    # The plan and price version it was sold with (docs/rules/catalog.md).
    c.reference("plan_id", "plans.id"),
    c.text("plan_key"),
    c.reference("price_id", "prices.id"),
    c.text("currency"),
    c.bigint("amount_minor"),
    c.text("interval_unit"),
    c.integer("interval_count"),
    c.text("status"),
    # Naive wall time in `zone`: period n is computed from it (billing.core.periods).
    c.column("anchor_wall", DateTime(timezone=False)),
    c.text("zone"),
    c.integer("period_number", server_default="0"),
    c.instant("current_period_start"),
    c.instant("current_period_end"),
    c.instant("cycle_start"),
    c.instant("cycle_end"),
    # The end of the whole cycle, if an end at a date cuts it short; the start of the cut cycle, if
    # this one is its remainder.
    c.instant("cycle_whole_end", nullable=True),
    c.instant("cycle_rest_of", nullable=True),
    c.instant("trial_end", nullable=True),
    # Its customer has had the notices of the period's end that were due until then.
    c.instant("told_until", nullable=True),
    c.text("trial_end_behavior", server_default="cancel"),
    c.flag("cancel_at_period_end", server_default="false"),
    # The date of its end; the last period is billed up to it.
    c.instant("cancel_at", nullable=True),
    c.instant("canceled_at", nullable=True),
    c.instant("ended_at", nullable=True),
    c.text("end_reason", nullable=True),
    # It has ended because the money of its period went back, so no claim on it is paid for.
    c.flag("money_went_back", server_default="false"),
    c.instant("incomplete_expires_at", nullable=True),
    # A newer subscribe waits for this incomplete one to be given up.
    c.instant("superseded_at", nullable=True),
    # Since when it is `unpaid`: the plan's `unpaid_days` count from here.
    c.instant("unpaid_at", nullable=True),
    # Since when nothing is served because of that; time until then counts as used.
    c.instant("unserved_since", nullable=True),
    # Why it is `paused`: debt_settled, requested or trial_ended.
    c.text("pause_reason", nullable=True),
    # While paused, time until then is not credited: the pause has closed its minimum, or the
    # terms changed during the pause.
    c.instant("kept_until", nullable=True),
    # Overage is invoiced as soon as it reaches this amount; NULL: with the cycle.
    c.bigint("billing_threshold_minor", nullable=True),
    # NULL until Stripe Billing may be in charge of subscriptions (docs/roadmap.md).
    c.text("stripe_subscription_id", nullable=True, unique=True),
    # The card it is charged to; NULL: the account's default.
    c.uuid("payment_method_id", nullable=True),
    # charge, or send_invoice: paid by transfer within `days_until_due`.
    c.text("collection", server_default="charge"),
    c.integer("days_until_due", nullable=True),
    # The customer's reason for canceling.
    c.text("cancel_reason", nullable=True),
    c.text("cancel_comment", nullable=True),
    # The contract whose terms apply; the minimum charge of a period; and the minimum spend until
    # an instant: billing.money.subscriptions.schemas.Commitment.
    c.uuid("contract_id", nullable=True),
    c.bigint("minimum_minor", nullable=True),
    # After a change within the period: since when the minimum applies, and the minimum before.
    c.instant("minimum_since", nullable=True),
    c.bigint("minimum_before_minor", nullable=True),
    # If days were added to the period: the share of a whole minimum owed since then.
    c.text("minimum_share", nullable=True),
    # The minimum of each period that closed while `unpaid`; the next close bills them:
    # billing.money.subscriptions.schemas.Minimum.
    c.json("minimums_unbilled", server_default="[]"),
    c.json("commitment", nullable=True),
    c.instant("created_at"),
    c.instant("updated_at"),
    c.whole_key(),
    c.check(
        "status IN ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due',"
        " 'unpaid', 'paused', 'canceled')",
        name="status_known",
    ),
    c.same_account("payment_method_id", "payment_methods"),
    c.same_account("contract_id", "contracts"),
    c.check("billing_threshold_minor > 0", name="billing_threshold_positive"),
    c.check("minimum_minor > 0", name="minimum_positive"),
    c.check(
        "collection IN ('charge', 'send_invoice')"
        " AND (collection = 'send_invoice') = (days_until_due IS NOT NULL)",
        name="collection_known",
    ),
    c.check("current_period_start < current_period_end", name="period_forward"),
    c.check("cancel_at IS NULL OR NOT cancel_at_period_end", name="one_end"),
    c.index(
        "uq_subscriptions_one_open",
        "account_id",
        unique=True,
        where=f"status IN {texts(OPEN_STATUSES)}",
    ),
    c.index("ix_subscriptions_account_created", "account_id", "created_at", "id"),
    c.index("ix_subscriptions_plan", "plan_key", "id"),
    c.index("ix_subscriptions_price", "price_id"),
    c.index("ix_subscriptions_status", "status", "id"),
    # A renewal changes no indexed column: with room in the page it adds no index entry.
    postgresql_with={"fillfactor": 90},
)

# A change that is charged first: its draft is paid, then it is applied; else all stays as it was.
# A scheduled one has no draft: the end of the period applies it. One of a kind may be scheduled.
subscription_changes = c.table(
    "subscription_changes",
    c.row_id(),
    c.account(),
    c.uuid("subscription_id"),
    c.text("kind"),
    # The requested change, in the form of its kind: add-ons by key with their quantities.
    c.json("wanted"),
    # For a change of plan or price, or of add-ons now: billing.money.subscriptions.schemas.Terms.
    c.json("terms", server_default="{}"),
    c.uuid("invoice_id", unique=True, nullable=True),
    c.text("status"),
    # Why it was not applied.
    c.text("reason", nullable=True),
    c.instant("expires_at", nullable=True),
    # A scheduled change applies at the first period end at or after this instant.
    c.instant("effective_at", nullable=True),
    c.instant("created_at"),
    c.instant("decided_at", nullable=True),
    c.same_account("subscription_id", "subscriptions"),
    c.same_account("invoice_id", "invoices"),
    c.check("kind IN ('add_ons', 'extend', 'pause', 'plan', 'price', 'resume')", name="kind_known"),
    c.check(
        "status IN ('pending', 'scheduled', 'applied', 'failed', 'expired', 'canceled')",
        name="status_known",
    ),
    c.check(f"(status IN {texts(UNDECIDED)}) = (decided_at IS NULL)", name="decided"),
    c.check(
        "terms <> '{}' OR kind NOT IN ('plan', 'price', 'add_ons')"
        " OR kind = 'add_ons' AND invoice_id IS NULL",
        name="has_terms",
    ),
    c.check(
        "CASE WHEN effective_at IS NULL"
        " THEN num_nonnulls(invoice_id, expires_at) = 2 AND status <> 'scheduled'"
        " ELSE num_nonnulls(invoice_id, expires_at) = 0 AND status <> 'pending' END",
        name="paid_first_or_later",
    ),
    c.index(
        "uq_subscription_changes_pending",
        "subscription_id",
        unique=True,
        where="status = 'pending'",
    ),
    c.index(
        "uq_subscription_changes_scheduled",
        "subscription_id",
        "kind",
        unique=True,
        where="status = 'scheduled'",
    ),
    c.index("ix_subscription_changes_account_created", "account_id", "created_at", "id"),
    # Portions of add-ons in a cycle.
    c.index(
        "ix_subscription_changes_applied",
        "subscription_id",
        "decided_at",
        where="status = 'applied' AND invoice_id IS NOT NULL",
    ),
)

subscription_items = c.table(
    "subscription_items",
    c.row_id(),
    c.account(),
    c.uuid("subscription_id"),
    c.text("kind"),
    # NULL for an add-on, whose price is in the plan version.
    c.reference("price_id", "prices.id", nullable=True),
    c.text("description"),
    c.integer("quantity"),
    # The quantity from the next period on; NULL: unchanged.
    c.integer("next_quantity", nullable=True),
    c.bigint("amount_minor"),
    # For an add-on: its key in the plan, and the units of a meter that one gives per cycle.
    c.text("add_on", nullable=True),
    c.text("meter", nullable=True),
    c.amount("units", nullable=True),
    c.same_account("subscription_id", "subscriptions"),
    c.check("quantity > 0", name="quantity_positive"),
    c.check("next_quantity BETWEEN 0 AND quantity - 1", name="next_quantity_less"),
    c.check(
        "(kind = 'add_on') = (num_nonnulls(add_on, meter, units) = 3)"
        " AND (kind = 'add_on') = (price_id IS NULL)",
        name="add_on_whole",
    ),
    Unique("subscription_id", "add_on"),
    c.index("ix_subscription_items_subscription", "subscription_id"),
)

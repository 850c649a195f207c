"""Rights: whoever uses something has a plan that gives it, credits or money."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from tests.integration.walk.diary import Entry
from tests.integration.walk.evidence import Case

FULL: Final = frozenset({"active", "trialing"})
NONE: Final = frozenset({"incomplete", "unpaid", "paused"})
USES: Final = frozenset({"record", "spend", "defer", "charge"})
LEVELS: Final = ("storage_gb",)
FREE_PLAN: Final = {
    "ai_responses": Decimal(50), "document_uploads": Decimal(5), "storage_gb": Decimal(1),
}  # fmt: skip
"""Units the default plan includes in a calendar month, of the meters it limits."""


def no_use_without_right(case: Case) -> Iterator[str]:
    """Each use that was taken is in a plan that is paid for, or has a price that was paid."""
    without_plan = Counter[tuple[str, str]]()
    back = {one.sent["billing_id"] for one in case.entries if one.name == "void_use" and one.done}
    for entry in case.entries:
        if entry.name not in USES or not entry.done or entry.body["billing_id"] in back:
            continue
        if entry.body["billing_method"] != "subscription_included":
            yield from _has_its_price(entry)
            continue
        status = entry.before.get("status", "none")
        if status in NONE:
            yield f"{entry}: taken while {status}"
        elif status == "past_due" and Decimal(entry.body["total_cost"]) > 0:
            yield f"{entry}: {entry.body['total_cost']} of overage while past due"
        elif status not in FULL and status != "past_due":
            if len(case.zones) > 1:
                continue  # his months are of either
            month = f"{entry.clock_to.astimezone(ZoneInfo(case.life.zone)):%Y-%m}"
            meter = entry.body["meter"]
            used = int(entry.sent["usage_amount"])
            without_plan[meter, month] = used + (meter not in LEVELS) * without_plan[meter, month]
            if without_plan[meter, month] > FREE_PLAN.get(meter, without_plan[meter, month]):
                yield f"{entry}: without a plan {without_plan[meter, month]} {meter} in {month}"
        elif entry.before["plan"]["key"] == "free" and Decimal(entry.body["total_cost"]) > 0:
            yield f"{entry}: the free plan has no overage"


def no_period_for_nothing(case: Case) -> Iterator[str]:
    """A subscription ends with the money of its period."""
    for row in case.tables["subscriptions"]:
        start = row["current_period_start"]
        charged = [
            one for one in case.rows("invoices", subscription_id=row["id"], status="paid")
            if one["created_at"] >= start and one["total_minor"] > 0
            and any(line["kind"] in ("plan", "add_on") and line["period_start"] >= start
                    for line in case.lines(one))
        ]  # fmt: skip
        gone = all(
            one["amount_paid_minor"] == one["total_minor"] and case.received(one) <= 0
            for one in charged
        )
        if charged and gone and row["status"] in (*FULL, "past_due"):
            yield f"{row['plan_key']} is {row['status']}, and all that paid for it went back"


def _has_its_price(entry: Entry) -> Iterator[str]:
    if entry.body["billing_status"] == "failed":
        yield f"{entry}: taken, and the card declined"
    if Decimal(entry.body["total_cost"]) <= 0 and not entry.body["is_free_tier"]:
        yield f"{entry}: for nothing, by {entry.body['billing_method']}"

"""Books: credits, grants, numbers, and what the product says of itself."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from tests.integration.walk.diary import Json
from tests.integration.walk.evidence import Case


def credits_agree(case: Case) -> Iterator[str]:
    """Ledger, lots, balance, records and counters, added up anew."""
    yield from case.recomputed


def grants_once(case: Case) -> Iterator[str]:
    """One lot for each paid purchase and each settled cycle, and no lot without."""
    bought = [row for row in case.tables["purchases"] if _is_paid(case, row["invoice_id"])]
    lots = case.rows("credit_lots", kind="purchase")
    paid, came = sum(row["credits"] for row in bought), sum(row["amount"] for row in lots)
    if len(bought) != len(lots) or paid != came:
        yield f"{len(bought)} purchases of {paid} credits are paid, {len(lots)} of {came} came"
    yield from _plan_grants(case)


def _is_paid(case: Case, invoice_id: object) -> bool:
    (invoice,) = case.rows("invoices", id=invoice_id)
    return bool(invoice["status"] == "paid")


def _plan_grants(case: Case) -> Iterator[str]:
    if case.rows("disputes", state="won"):
        return  # credits that it gave back live 30 days more
    lots = Counter(row["expires_at"] for row in case.rows("credit_lots", kind="plan"))
    for row in case.tables["subscriptions"]:
        plan = case.plans[row["plan_id"]]
        if case.rows("subscription_changes", subscription_id=row["id"], kind="plan"):
            continue  # another plan, other credits: the ledger's own checks count those
        if not plan["monthly_credits"]:
            continue
        for invoice in case.rows("invoices", subscription_id=row["id"]):
            if _brings_credits(case, row, invoice) and not lots[invoice["cycle_end"]]:
                yield f"{invoice['number']} is paid, and the credits of its cycle never came"
    changes = case.rows("subscription_changes", kind="plan", status="applied")
    for end, number in lots.items():
        if not _is_earned(case, end):
            yield f"plan credits that end at {end:%Y-%m-%d %H:%M} came without a paid cycle"
        most = len(_cycles(case, end)) + len(changes)  # a change up brings the difference
        if number > most and number > 1:
            yield f"plan credits that end at {end:%Y-%m-%d %H:%M} came {number} times"


def _brings_credits(case: Case, subscription: Json, invoice: Json) -> bool:
    """True of one that was paid while its cycle ran; not one of time that was not served: a pause
    leaves a debtor the time before it to pay for, and gives no credits.
    """
    if invoice["cycle_end"] is None or invoice["status"] != "paid":
        return False
    ended = subscription["ended_at"] and subscription["ended_at"] <= invoice["paid_at"]
    cut = case.rows("credit_notes", invoice_id=invoice["id"], reason="time not served")
    forgiven = invoice["settlement"] in ("credited", "forgiven")
    over = subscription["status"] in ("paused", "canceled") and (forgiven or bool(cut))
    return bool(invoice["paid_at"] < invoice["cycle_end"] and not ended and not over)


def _is_earned(case: Case, end: datetime) -> bool:
    settled = any(
        one["status"] == "paid" and one["period_start"] < end <= one["period_end"]
        for one in case.tables["invoices"]
        if one["cycle_end"] is not None
    )
    tried = any(
        row["trial_end"] is not None and end <= row["trial_end"]
        for row in case.tables["subscriptions"]
    )
    given = any(
        row["created_at"] < end <= row["effective_at"]
        for row in case.rows("subscription_changes", kind="extend", status="applied")
    )
    return settled or tried or given  # cycles of days that were given


def _cycles(case: Case, end: object) -> list[Json]:
    return case.rows("invoices", cycle_end=end)


def numbers_without_gaps(case: Case) -> Iterator[str]:
    """Each series counts 1, 2, 3, and its dates never go back."""
    issued = defaultdict[str, dict[int, Json]](dict)
    for row in [*case.tables["invoices"], *case.tables["credit_notes"]]:
        if row["number"] is None:
            continue
        number = int(re.findall(r"\d+", row["number"])[-1])
        if number in issued[row["series"]]:
            yield f"{row['series']} has {row['number']} twice"
        issued[row["series"]][number] = row
    for series, rows in issued.items():
        if sorted(rows) != list(range(1, len(rows) + 1)):
            yield f"{series} has the numbers {sorted(rows)}"
        dates = [rows[number]["issued_on"] for number in sorted(rows)]
        if dates != sorted(dates):
            yield f"{series} goes back in time: {[str(date) for date in dates]}"


def verified(case: Case) -> Iterator[str]:
    """`GET /admin/integrity` of the account, at the end."""
    for check in case.life.verified.get("checks", []):
        if not check["ok"]:
            yield f"{check['name']}: {check['examples']}"


def nothing_left(case: Case) -> Iterator[str]:
    """At the end no matter is halted, and none has something to do that it does not do."""
    now = case.entries[-1].clock_to
    for row in case.tables["matters"]:
        if row["status"] == "halted":
            yield f"{row['workflow_id']} is halted: {row['words']}"
        late = row["next_due"] is not None and row["next_due"] <= now
        if row["closed_at"] is None and row["status"] == "open" and late:
            step = f"{row['next_step']}, due {row['next_due']}, at {now}"
            yield f"{row['workflow_id']} does not do {step}: {row['words']}"

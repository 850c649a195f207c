"""Tales of subscribing: fourteen renewals by the clock, and dunning with two endings."""

from datetime import datetime
from itertools import pairwise
from typing import Final

from devstack.demo.stage import Customer, Stage
from devstack.options import ROOT

FAILING_CARD: Final = "pm_card_chargeCustomerFail"
GOOD_CARD: Final = "pm_card_visa"
START: Final = "2027-01-31T10:00:00Z"
TRIAL_DAYS: Final = 14
FOURTEEN_MONTHS_DAYS: Final = 426
PAPERS: Final = ROOT / "build" / "demo"


async def fourteen_renewals(stage: Stage) -> Customer:
    """Trial, then active, then fourteen monthly renewals, every one on its own day."""
    stage.title("A subscription: trial, active, and fourteen monthly renewals by the clock")
    reader = await stage.customer("dora", clock_at=START)
    begun = await reader.ask("POST", "/billing/subscription", {"plan": "pro"})
    stage.check("it starts in its trial", begun.get("status") == "trialing", begun)
    await reader.save_card(GOOD_CARD)
    await reader.advance(days=TRIAL_DAYS)
    active = await reader.subscription()
    stage.check("after 14 days it is active", active["status"] == "active", active["status"])
    await reader.advance(days=FOURTEEN_MONTHS_DAYS)
    bills = await reader.rows(
        "SELECT number, issued_on, total_minor, status FROM invoices WHERE account_id = %(me)s"
        " ORDER BY issued_on, number"
    )
    for bill in (*bills[:3], bills[-1]):
        stage.say(f"{bill['number']}  {bill['issued_on']}  {bill['total_minor'] / 100:.2f} USD")
    stage.check("15 invoices: the first period and 14 renewals", len(bills) == 15, len(bills))
    stage.check("all paid", {bill["status"] for bill in bills} == {"paid"}, bills)
    days = sorted({bill["issued_on"].day for bill in bills})
    stage.check("each on the 14th, the anchor's day", days == [14], days)
    charged = [c for c in await reader.charges() if c["name"] == "charge.succeeded"]
    stage.check("15 charges in Stripe's journal", len(charged) == len(bills), len(charged))
    grants = await reader.count(
        "SELECT count(*) FROM credit_lots WHERE account_id = %(me)s AND kind = 'plan'"
    )
    stage.check("16 grants: the trial's cycle and each paid one", grants == 16, grants)
    await _printed(stage, reader)
    return reader


async def _printed(stage: Stage, reader: Customer) -> None:
    """The newest invoice and its receipt as PDF, in a folder that stays."""
    (newest, *_) = (await reader.ask("GET", "/billing/invoices"))["data"]
    PAPERS.mkdir(parents=True, exist_ok=True)
    for name in ("invoice", "receipt"):
        paper = await reader.download(newest[f"{name}_pdf_url"])
        again = await reader.download(newest[f"{name}_pdf_url"])
        (PAPERS / f"{name}.pdf").write_bytes(paper)
        stage.check(f"its {name} is a PDF, the same bytes each time", paper == again, len(paper))
    stage.say(f"{newest['invoice_number']} is in {PAPERS.relative_to(ROOT)}/")


async def upgraded(stage: Stage) -> None:
    """A change up in the middle of a month charges what its preview said."""
    stage.title("An upgrade: what the preview says is what is charged")
    reader = await stage.customer("carl", clock_at=START)
    await reader.save_card(GOOD_CARD)
    await reader.ask("POST", "/billing/subscription", {"plan": "basic", "trial": False})
    await reader.until_status("/billing/subscription", "active")
    await reader.advance(days=10)
    wish = {"plan": "pro"}
    seen = await reader.ask("POST", "/billing/subscription/preview", wish)
    for line in seen["invoice"]["lines"]:
        stage.say(f"{line['description']}: {line['total'] / 100:.2f} USD")
    token = {"preview_token": seen["preview_token"]}
    changed = await reader.ask("PUT", "/billing/subscription", wish | token)
    stage.check("the plan is Pro at once", changed["plan"]["key"] == "pro", changed)
    charged = await reader.moved("charge.succeeded")
    stage.check(
        f"charged {seen['due_now_cents'] / 100:.2f} USD, as the preview said",
        charged[1:] == [seen["due_now_cents"]],
        charged,
    )


async def recovered_by_new_card(stage: Stage) -> None:
    """Day 0 and 3 fail; a new card is tried at once and heals everything."""
    stage.title("A failing card: day 0 and day 3 fail, a new card recovers it at once")
    payer = await late_payer(stage, "emil")
    late = await payer.subscription()
    stage.check("day 0 failed: past due", late["status"] == "past_due", late["status"])
    await payer.advance(days=3)
    tries = await _tries(payer)
    stage.say(f"attempts at {', '.join(tries)}")
    await payer.save_card(GOOD_CARD, make_default=True)
    await payer.until_status("/billing/subscription", "active")
    stage.check("the new card was tried at once: active again", True)
    names = [charge["name"] for charge in await payer.charges()]
    expected = ["charge.failed", "charge.failed", "charge.succeeded"]
    stage.check("Stripe saw two failures and one success", names == expected, names)
    await payer.advance(days=10)
    after = len(await payer.charges())
    stage.check("day 7 stayed silent", after == len(expected), after)


async def exhausted(stage: Stage) -> None:
    """Day 0, 3 and 7 fail, and the final action follows."""
    stage.title("Another failing card: day 0, 3 and 7, then the final action")
    payer = await late_payer(stage, "fay")
    await payer.advance(days=9)
    ended = await payer.subscription()
    stage.check(
        "after the last slot and a day of grace: unpaid",
        ended["status"] == "unpaid",
        ended["status"],
    )
    tries = await _tries(payer)
    stage.check("three attempts, on day 0, 3 and 7", _gaps(tries) == [3, 4], tries)
    failed = [charge for charge in await payer.charges() if charge["name"] == "charge.failed"]
    stage.check("exactly three charges were tried", len(failed) == 3, len(failed))
    await payer.advance(days=60)
    later = len(await payer.charges())
    stage.check("and none in the sixty days after", later == 3, later)


async def late_payer(stage: Stage, name: str) -> Customer:
    """A customer of `pro` on the day after the trial, whose card could not pay the first period."""
    payer = await stage.customer(name, clock_at=START)
    await payer.save_card(FAILING_CARD)
    await payer.ask("POST", "/billing/subscription", {"plan": "pro"})
    await payer.advance(days=TRIAL_DAYS)
    return payer


async def _tries(payer: Customer) -> list[str]:
    rows = await payer.rows(
        "SELECT started_at FROM payment_attempts WHERE account_id = %(me)s ORDER BY started_at"
    )
    return [f"{row['started_at']:%Y-%m-%d %H:%M}" for row in rows]


def _gaps(tries: list[str]) -> list[int]:
    days = [datetime.fromisoformat(one) for one in tries]
    return [(after - before).days for before, after in pairwise(days)]

"""Tales of debts and late money: a debtor comes back, and a cancel meets a slow bank."""

from devstack.demo.stage import Stage
from devstack.demo.subscription_tales import GOOD_CARD, START, late_payer


async def comes_back(stage: Stage) -> None:
    """Unpaid; then one step pays what is owed, and nothing else is charged."""
    stage.title("A debtor comes back: one step pays what is owed, and nothing else")
    payer = await late_payer(stage, "gus")
    await payer.advance(days=9)
    owing = await payer.subscription()
    stage.check("three refusals and a day of grace: unpaid", owing["status"] == "unpaid", owing)
    used = await payer.ask(
        "POST", "/usage/record", {"feature_type": "ai_responses", "usage_amount": 1}
    )
    stage.check("no use without a right", used.get("code") == "NO_ENTITLEMENT", used)
    card = await payer.save_card(GOOD_CARD)
    wish = {"payment_method_id": card["id"]}
    foreseen = await payer.ask("POST", "/billing/pay-overdue", {**wish, "dry_run": True})
    stage.say(f"asked beforehand, it would charge {foreseen['charged_cents'] / 100:.2f} USD")
    paid = await payer.ask("POST", "/billing/pay-overdue", wish, **{"Idempotency-Key": "gus-1"})
    again = await payer.ask("POST", "/billing/pay-overdue", wish, **{"Idempotency-Key": "gus-1"})
    stage.check(
        "it charges what it said, once for both calls",
        paid["charged_cents"] == foreseen["charged_cents"] == again["charged_cents"],
        (foreseen, paid, again),
    )
    back = await payer.subscription()
    stage.check("active again", back["status"] == "active", back["status"])
    stage.check(
        "in the period that was billed",
        back["current_period_end"] == owing["current_period_end"],
        (owing["current_period_end"], back["current_period_end"]),
    )
    charged = await payer.moved("charge.succeeded")
    stage.check("one charge in Stripe's journal", charged == [paid["charged_cents"]], charged)


async def cancel_meets_a_slow_bank(stage: Stage) -> None:
    """The bank still thinks when the customer cancels; its money goes back."""
    stage.title("A cancel meets a slow bank: the money that comes after it goes back")
    payer = await stage.customer("hal", clock_at=START)
    await payer.save_card(GOOD_CARD)
    await payer.bank_is_slow()
    begun = await payer.ask("POST", "/billing/subscription", {"plan": "basic", "trial": False})
    stage.check("the bank decides later", begun["next_action"]["type"] == "wait", begun)
    ended = await payer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    stage.check("the cancel is answered", ended.get("status") == "canceled", ended)
    await payer.bank_says_yes()
    await stage.until(lambda: payer.moved("refund.succeeded"), "the money to go back")
    moved = [await payer.moved(name) for name in ("charge.succeeded", "refund.succeeded")]
    stage.check("the bank said yes, and all of it went back", moved[0] == moved[1], moved)
    await payer.advance(days=62)
    later = await payer.subscription()
    stage.check("two months on it is still canceled", later["status"] == "canceled", later)
    charged = await payer.moved("charge.succeeded")
    stage.check("and nobody was charged twice", len(charged) == 1, charged)

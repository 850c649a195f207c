"""Random lives as lists of commands: the same number is always the same life.

No command depends on how an earlier one went, so any of them may be left out.
"""

import os
from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.integration.walk.arcs import ARCS
from tests.integration.walk.diary import Command

STARTS: Final = ("2027-01-01T10:00:00Z", "2027-01-31T10:00:00Z", "2027-02-14T23:30:00Z")
ZONES: Final = ("UTC", "UTC", "Europe/Berlin", "America/New_York")
WEATHERS: Final = ("fair", "fair", "shuffle", "duplicate", "lost")
"""The fate of the provider's events: delivered, mixed up, delivered twice, or dropped."""
COUNTRIES: Final = (None, None, "HU")
"""The country of the customer: none that asks for tax, or one where TAX is added."""
TAX: Final = 27
TEAM: Final = "walk-team"
"""A plan by seats, whose price beyond it falls by the unit; the walk puts it on sale."""
PLANS: Final = ("basic", "basic", "pro", "starter", "free", TEAM, TEAM)
CHANGED: Final = ("basic", "pro", "pro", "enterprise", "growth", "free", TEAM)
CODES: Final = ("WALK20", "WALK300")
CARDS: Final = ("pm_card_visa", "pm_card_mastercard", "pm_card_amex", "pm_card_chargeCustomerFail")
SAVED: Final = (*CARDS, "pm_usBankAccount_success")
CAPTURES: Final = ("pays", "pays", "pays", "declined", "pending")
BROWSER: Final = (
    "pm_card_visa", "pm_card_visa", "pm_card_visa", "pm_card_visa_chargeDeclined",
    "pm_card_authenticationRequired",
)  # fmt: skip
DECLINES: Final = ("insufficient_funds", "do_not_honor", "generic_decline", "stolen_card")
WORDS: Final = ("succeed", *DECLINES, "processing", "authentication_required")
REMEDIES: Final = (
    "pay", "pay", "save_card", "forgive", "retry_now", "extend", "pause", "resume_case",
    "submit", "approve", "reject", "settle", "pay_overdue", "resume", "refund",
    "give_back", "dispute", "approve_order", "settle_order", "reverse_order",
)  # fmt: skip
CREDITS: Final = (
    "spend", "spend", "defer", "hold", "hold", "capture", "release", "charge", "top_up", "top_up",
)  # fmt: skip
OFFICE: Final = (
    "void_invoice",
    "give_up",
    "record_money",
    "credit_note",
    "agree",
    "end_contract",
)
STEPS: Final = 14
NAMES: Final = frozenset({
    "confirm", "authenticate", "script", "subscribe", "cancel", "reactivate", "add_ons", "backup",
    "change_plan", "coupon", "take_off", "cancel_at", "pause_plan", "extend_plan", "give_back",
    "dispute", "void_use", "seats", "move",
    "cancel_while_paying", "record", "buy", "advance", "to_renewal", *REMEDIES, *CREDITS, *OFFICE,
})  # fmt: skip


def commands_of(seed: int) -> list[Command]:
    """The life of this number; every other begins with an arc, each in its turn."""
    dice = Random(seed)
    life = _beginning(dice) if seed % 2 else ARCS[seed // 2 % len(ARCS)](dice)
    while len(life) < STEPS:
        life += _act(dice)
    return life


def circumstances(seed: int) -> tuple[str, str, str, str | None]:
    """The start, the zone, the weather and the country of the life of this number."""
    dice = Random(f"{seed}/world")
    start, zone, weather = dice.choice(STARTS), dice.choice(ZONES), dice.choice(WEATHERS)
    return start, zone, weather, os.environ.get("WALK_COUNTRY") or dice.choice(COUNTRIES)


def _beginning(dice: Random) -> list[Command]:
    life = []
    if dice.random() < 0.6:
        life.append(_command("save_card", card=dice.choice(CARDS[:3])))
    if dice.random() < 0.3:
        life.append(_command("save_card", card=dice.choice(CARDS)))
    if dice.random() < 0.25:
        life += _buy(dice)
    return life + _subscribe(dice)


def _subscribe(dice: Random) -> list[Command]:
    way = dice.choice(("card", "card", "default", "named"))
    life = []
    if dice.random() < 0.2:
        life.append(_command("script", words=[dice.choice(WORDS[1:])], then="normal"))
    plan = dice.choice(PLANS)
    life.append(
        _command(
            "subscribe",
            plan=plan,
            interval="yearly" if dice.random() < 0.1 else "monthly",
            trial=dice.random() < 0.25,
            way=way,
            **({"quantity": dice.choice((1, 2, 4))} if plan == TEAM else {}),
        )
    )
    if dice.random() < 0.85:
        life.append(_command("confirm", card=dice.choice(BROWSER)))
    if dice.random() < 0.3:
        life.append(_command("authenticate", passed=dice.random() < 0.7))
    return life


def _buy(dice: Random) -> list[Command]:
    flow = dice.choice(("saved_card", "card", "manual", "paypal"))
    life = [_command("buy", pack=dice.choice(("small", "medium")), flow=flow)]
    if flow == "card":
        life.append(_command("confirm", card=dice.choice(BROWSER)))
    if flow == "paypal":
        life.append(_command("approve_order", capture=dice.choice(CAPTURES)))
    return life


def _trouble(dice: Random) -> list[Command]:
    """Cards are scripted and time goes on to the next renewal; then people act."""
    words = [dice.choice(WORDS[1:]) for _ in range(dice.choice((1, 1, 2, 3)))]
    then = dice.choice(("normal", "last")) if words[-1] in DECLINES else "normal"
    life = [_command("script", words=words, then=then)]
    if dice.random() < 0.4:
        life += _use(dice)
    life.append(_command("to_renewal", days=dice.choice((0, 0, 0, 1, 1, 4, 4, 9, 35)), seconds=0))
    if dice.random() < 0.3:
        life.append(_command("cancel", at=dice.choice(("now", "period_end"))))
    life.append(_remedy(dice))
    if dice.random() < 0.4:
        life += [_command("script", words=[], then="normal"), _remedy(dice)]
    return life


def _remedies(dice: Random) -> list[Command]:
    return [_remedy(dice)]


def _remedy(dice: Random) -> Command:
    verb = dice.choice(REMEDIES)
    terms: dict[str, dict[str, Any]] = {
        "pay": {"way": dice.choice(("default", "card", "paypal"))},
        "save_card": {"card": dice.choice(SAVED)},
        "approve_order": {"capture": dice.choice(CAPTURES)},
        "settle_order": {"status": dice.choice(("COMPLETED", "COMPLETED", "DENIED"))},
        "extend": {"days": dice.choice((2, 5))},
        "approve": {"percent": dice.choice((40, 100, 100, 130))},
        "settle": {"outcome": dice.choice(("succeed", "succeed", "insufficient_funds"))},
        "refund": {
            "percent": dice.choice((30, 100, 100)),
            "to": dice.choice(("payer", "payer", "balance")),
        },
        "give_back": {"percent": dice.choice((30, 100))},
        "dispute": {"outcome": dice.choice((None, "won", "lost"))},
        "pay_overdue": {"resume": dice.random() < 0.5},
    }
    return _command(verb, **terms.get(verb, {}))


def _office(dice: Random) -> list[Command]:
    """An operator takes something back, gives it up, books money, or makes an agreement."""
    verb = dice.choice(OFFICE)
    terms: dict[str, dict[str, Any]] = {
        "record_money": {"percent": dice.choice((40, 100, 130))},
        "credit_note": {
            "percent": dice.choice((30, 100)), "to": dice.choice(("debt", "debt", "balance")),
        },
        "agree": {"terms": dice.choice(("cheaper", "minimum", "committed"))},
    }  # fmt: skip
    return [_command(verb, **terms.get(verb, {}))]


def _use(dice: Random) -> list[Command]:
    if dice.random() < 0.15:
        return [_command("void_use")]
    amount = str(dice.choice((20, 60, 300, 777, 6000)))
    feature = dice.choice(("ai_responses", "ai_responses", "api_calls", "document_uploads"))
    if dice.random() < 0.15:
        feature, amount = "storage_gb", str(dice.choice((3, 12, 40)))
    return [_command("record", feature=feature, amount=amount)]


def _credits(dice: Random) -> list[Command]:
    verb = dice.choice(CREDITS)
    terms: dict[str, dict[str, Any]] = {
        "spend": {"amount": str(dice.choice((500, 5000, 45000)))},
        "defer": {"amount": str(dice.choice((5000, 60000)))},
        "hold": {"amount": str(dice.choice((1, 10, 80)))},
        "capture": {"percent": dice.choice((30, 100))},
        "charge": {"amount": str(dice.choice((1000, 9000)))},
        "top_up": {"is_enabled": dice.random() < 0.7, "threshold": str(dice.choice((20, 150)))},
    }
    return [_command(verb, **terms.get(verb, {}))]


def _time(dice: Random) -> list[Command]:
    if dice.random() < 0.4:
        return [_command("advance", days=dice.choice((1, 3, 8, 14, 31)), hours=0)]
    if dice.random() < 0.3:
        return [_command("advance", days=0, hours=dice.choice((1, 5, 23)))]
    return [_command("to_renewal", days=dice.choice((0, 0, 1, 4)), seconds=dice.choice((-1, 0, 0)))]


def _act(dice: Random) -> list[Command]:
    kinds = list(_WEIGHTS)
    (act,) = dice.choices(kinds, [_WEIGHTS[one] for one in kinds])
    return act(dice)


def _cancel(dice: Random) -> list[Command]:
    if dice.random() < 0.2:
        return [_command("cancel_while_paying", card="pm_card_visa", at="now")]
    if dice.random() < 0.25:
        return [_command("cancel_at", days=dice.choice((2, 20, 45)))]
    if dice.choice((True, False, False)):
        rest = dice.choice(("none", "none", "credit", "refund", "refund"))
        return [_command("cancel", at="now", **({"refund": rest} if rest != "none" else {}))]
    return [_command("cancel", at="period_end")]


def _change(dice: Random) -> list[Command]:
    kind = dice.random()
    if kind < 0.2:
        return [_command("reactivate")]
    if kind < 0.55:
        when = dice.choice((None, None, "now", "period_end"))
        interval = dice.choice((None, None, None, "monthly", "yearly"))
        wish = {"plan": dice.choice(CHANGED), "interval": interval, "when": when}
        return [_command("change_plan", **wish)]
    if kind < 0.65:
        return [_command("coupon", code=dice.choice(CODES))]
    if kind < 0.72:
        when = dice.choice((None, None, "now", "period_end"))
        return [_command("seats", quantity=dice.choice((1, 2, 3, 5)), when=when)]
    if kind < 0.80:
        return [_command("pause_plan", at=dice.choice(("now", "period_end")))]
    if kind < 0.85:
        return [_command("extend_plan", days=dice.choice((3, 30)))]
    if kind < 0.88:
        return [_command("take_off", code=dice.choice(CODES))]
    quantity, now = dice.choice(((0, "now"), (1, None), (2, "now"), (3, None)))
    return [_command("add_ons", quantity=quantity, when=now)]


_WEIGHTS: Final[dict[Callable[[Random], list[Command]], int]] = {
    _trouble: 20,
    _time: 20,
    _use: 10,
    _credits: 12,
    _cancel: 10,
    _change: 16,
    _buy: 6,
    _subscribe: 6,
    _remedies: 6,
    _office: 6,
}


def _command(name: str, **terms: Any) -> Command:
    return Command(name, terms)

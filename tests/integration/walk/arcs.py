"""Courses of life that dice alone would seldom make: each where a promise was once broken."""

from random import Random
from typing import Final

from tests.integration.walk.diary import Command

VISA: Final = Command("save_card", {"card": "pm_card_visa"})
AMEX: Final = Command("save_card", {"card": "pm_card_amex"})
ACCOUNT: Final = Command("save_card", {"card": "pm_usBankAccount_success"})
CANCEL_NOW: Final = Command("cancel", {"at": "now"})
CANCEL_LATER: Final = Command("cancel", {"at": "period_end"})
BASIC: Final = Command(
    "subscribe", {"plan": "basic", "interval": "monthly", "trial": False, "way": "default"}
)
NAMED: Final = Command("subscribe", {**BASIC.terms, "way": "named"})
PAY: Final = Command("pay", {"way": "default"})
CARDS_PAY: Final = Command("script", {"words": [], "then": "normal"})
SETTLED: Final = Command("settle", {"outcome": "succeed"})
WAYS_BACK: Final = ("payer", "balance")
AT_RENEWAL: Final = Command("to_renewal", {"days": 0, "seconds": 0})


def slow_bank(dice: Random) -> list[Command]:
    """The first payment takes the bank days; its payer waits, or subscribes once more."""
    again = dice.choice(([BASIC], []))
    return [VISA, _cards_say("processing"), BASIC, *again, _days(dice), SETTLED, AT_RENEWAL]


def cancel_meets_slow_bank(dice: Random) -> list[Command]:
    """The bank says yes after the customer has cancelled."""
    cancel = dice.choice((CANCEL_NOW, CANCEL_LATER))
    return [VISA, _cards_say("processing"), BASIC, cancel, _days(dice), SETTLED, AT_RENEWAL]


def debtor_in_time(dice: Random) -> list[Command]:
    """All slots fail; then the debt is settled while its period runs."""
    before = dice.choice(([], [CANCEL_LATER], [_used("6000")]))
    return [*_debt(dice.choice((4, 9, 9)), before), *_settling(dice), AT_RENEWAL]


def debtor_too_late(dice: Random) -> list[Command]:
    """The debt is settled when the next period has begun."""
    return [*_debt(35, dice.choice(([], [_used("6000")]))), *_settling(dice), AT_RENEWAL]


def cancelled_debtor(dice: Random) -> list[Command]:
    """A cancel comes while something is unpaid; Collection goes on."""
    days = dice.choice((0, 4, 9))
    late = Command("to_renewal", {"days": days, "seconds": 0})
    cancel = dice.choice((CANCEL_NOW, CANCEL_LATER))
    return [
        VISA, BASIC, _used("777"), _cards_say("do_not_honor", then="last"), late, cancel,
        Command("advance", {"days": 8, "hours": 0}), CARDS_PAY, PAY,
    ]  # fmt: skip


def declined_change(dice: Random) -> list[Command]:
    """More of an add-on, with a card that declines."""
    more = Command("add_ons", {"quantity": dice.choice((1, 3))})
    word = dice.choice(("insufficient_funds", "stolen_card"))
    return [VISA, BASIC, _cards_say(word), more, _used("6000"), AT_RENEWAL]


def use_of_an_ended_plan(_: Random) -> list[Command]:
    """Use goes on when the plan has ended."""
    return [VISA, BASIC, CANCEL_NOW, _used("300"), _used("777")]


def use_of_an_unpaid_plan(dice: Random) -> list[Command]:
    """Use goes on when the plan is overdue, and when it was given up."""
    first = dice.choice((_used("300"), _used("20")))
    days = Command("advance", {"days": 8, "hours": 0})
    return [*_debt(1, []), first, days, _used("777"), _used("20"), CARDS_PAY]


def stolen(dice: Random) -> list[Command]:
    """A stolen card is asked again, in another flow."""
    buy = Command("buy", {"pack": "small", "flow": "saved_card"})
    again = dice.choice((buy, Command("charge", {"amount": "9000"}), BASIC))
    return [VISA, _cards_say("stolen_card"), buy, again, buy]


def two_cards(dice: Random) -> list[Command]:
    """Subscribed with one card while another is the default."""
    trial = Command("subscribe", {**NAMED.terms, "trial": dice.random() < 0.5})
    return [VISA, AMEX, trial, AT_RENEWAL, AT_RENEWAL]


def debited(dice: Random) -> list[Command]:
    """A renewal is debited from a bank account, and decided days later."""
    wait = Command("advance", {"days": dice.choice((2, 5, 16)), "hours": 0})
    refused = Command("settle", {"outcome": dice.choice(("insufficient_funds", "account_closed"))})
    ends = dice.choice(([SETTLED], [refused], [refused, wait, SETTLED], [CANCEL_NOW, SETTLED]))
    return [VISA, BASIC, ACCOUNT, _used("777"), AT_RENEWAL, wait, *ends, AT_RENEWAL]


def backed_up(dice: Random) -> list[Command]:
    """The bank refuses the charged card for good, and another card is the backup."""
    card = dice.choice((AMEX, ACCOUNT))
    word = dice.choice(("stolen_card", "stolen_card", "insufficient_funds"))
    late = Command("to_renewal", {"days": dice.choice((0, 4)), "seconds": 0})
    return [VISA, card, Command("backup"), BASIC, _days(dice), SETTLED, _cards_say(word), late]


def flips(dice: Random) -> list[Command]:
    """From plan to plan and back within a period, some with a card that declines."""
    word = dice.choice((CARDS_PAY, _cards_say("do_not_honor")))
    wait = Command("advance", {"days": dice.choice((1, 3)), "hours": 5})
    down = _change("basic", when=dice.choice(("now", "now", "period_end")))
    yearly = _change("basic", interval="yearly")
    last = dice.choice(([down, wait, _change("enterprise")], [yearly, wait, down]))
    return [VISA, BASIC, wait, _change("pro"), wait, word, *last, wait, CARDS_PAY, AT_RENEWAL]


def given_back(dice: Random) -> list[Command]:
    """Money goes back before and after a change of plan, and after credits were spent."""
    part = Command("refund", {"percent": dice.choice((40, 100)), "to": dice.choice(WAYS_BACK)})
    rest = Command("refund", {"percent": 100, "to": "payer"})
    spent = Command("spend", {"amount": "30000"})
    change = _change("pro", when="now")
    order = dice.choice(([part, change, rest], [change, part, rest], [spent, rest, change]))
    wait = Command("advance", {"days": 3, "hours": 0})
    bought = Command("buy", {"pack": "small", "flow": "saved_card"})
    return [VISA, BASIC, bought, wait, *order, wait, AT_RENEWAL]


def discounted(dice: Random) -> list[Command]:
    """A coupon goes off the periods to come, and off a change."""
    code = dice.choice(("WALK20", "WALK20", "WALK300"))
    late = Command("to_renewal", {"days": 3, "seconds": 0})
    off = dice.choice(([], [Command("take_off", {"code": code})]))
    return [
        VISA, BASIC, Command("coupon", {"code": code}), late, _change("pro"), *off, AT_RENEWAL,
    ]  # fmt: skip


def taken_back(dice: Random) -> list[Command]:
    """The payer's bank or somebody in the dashboard takes money back, in any order."""
    dashboard = Command("give_back", {"percent": dice.choice((30, 100))})
    bank = Command("dispute", {"outcome": dice.choice(("won", "lost", None))})
    first, second = dice.choice(((dashboard, bank), (bank, dashboard)))
    refund = Command("refund", {"percent": 100, "to": dice.choice(WAYS_BACK)})
    bought = Command("buy", {"pack": "small", "flow": "saved_card"})
    return [VISA, BASIC, bought, first, second, refund, AT_RENEWAL]


def pausing(dice: Random) -> list[Command]:
    """A pause, days given, and an end at a date."""
    pause = Command("pause_plan", {"at": dice.choice(("now", "period_end"))})
    given = Command("extend_plan", {"days": dice.choice((3, 30))})
    ends = Command("cancel_at", {"days": dice.choice((2, 20, 45))})
    wait = Command("advance", {"days": dice.choice((3, 40)), "hours": 0})
    resumed = Command("resume")
    order = dice.choice(([given, pause, wait, resumed], [pause, wait, resumed, given]))
    return [VISA, BASIC, *order, ends, wait, AT_RENEWAL]


def by_paypal(dice: Random) -> list[Command]:
    """A purchase or a debt is paid at PayPal, in the end; money may go back from there."""
    first = Command("approve_order", {"capture": dice.choice(("pays", "declined", "pending"))})
    again = Command("approve_order", {"capture": "pays"})
    ends = Command("settle_order", {"status": dice.choice(("COMPLETED", "DENIED"))})
    back = dice.choice(([Command("reverse_order")], [_back(dice)], [_back(dice), _back(dice)]))
    bought = [VISA, BASIC, Command("buy", {"pack": "small", "flow": "paypal"})]
    owed = [*_debt(4, []), Command("pay", {"way": "paypal"})]
    return [*dice.choice((bought, owed)), first, again, ends, *back, CARDS_PAY, AT_RENEWAL]


def two_ways(dice: Random) -> list[Command]:
    """A page at PayPal is open, and the debt is settled in another way before it is approved."""
    other = dice.choice(([PAY], [Command("pay", {"way": "card"})], [_transfer(), _approved()]))
    page, approved = (
        Command("pay", {"way": "paypal"}),
        Command("approve_order", {"capture": "pays"}),
    )
    order = dice.choice(([page, *other, approved], [page, approved, *other], [*other, page]))
    return [*_debt(4, []), CARDS_PAY, *order, AT_RENEWAL]


def mistaken_uses(dice: Random) -> list[Command]:
    """Uses are taken back that credits, a card or the plan paid, or that are billed at the end."""
    kinds = (
        Command("spend", {"amount": "5000"}),
        Command("charge", {"amount": "9000"}),
        _used("6000"),
    )
    first, second = dice.choice(kinds), dice.choice(kinds)
    void = Command("void_use")
    late = dice.choice(([], [AT_RENEWAL]))
    return [VISA, BASIC, Command("buy", {"pack": "small", "flow": "saved_card"}),
            first, *late, void, void, second, AT_RENEWAL, void, AT_RENEWAL]  # fmt: skip


def agreed(dice: Random) -> list[Command]:
    """A contract with a minimum or a commitment, kept or ended before its time."""
    terms = Command("agree", {"terms": dice.choice(("minimum", "committed", "committed"))})
    ends = dice.choice(([CANCEL_NOW], [CANCEL_LATER, AT_RENEWAL], [AT_RENEWAL]))
    left = dice.choice(([], [Command("end_contract")], [Command("agree", {"terms": "cheaper"})]))
    return [VISA, terms, BASIC, _used(dice.choice(("300", "6000"))), AT_RENEWAL, *left, *ends]


def by_transfer(dice: Random) -> list[Command]:
    """Invoices are sent: a plan changes before its money, what comes with it is spent, and left."""
    begun = Command("subscribe", {
        "plan": dice.choice(("basic", "pro")), "trial": False, "way": "transfer",
        "interval": dice.choice(("monthly", "monthly", "yearly")),
    })  # fmt: skip
    wait = Command("advance", {"days": dice.choice((0, 3, 12)), "hours": 1})
    spent = [
        Command("hold", {"amount": dice.choice(("90", "2500", "4800"))}),
        Command("capture", {"percent": 100}),
    ]
    pause = [Command("pause_plan", {"at": "now"}), wait, Command("resume")]
    ends = dice.choice(([CANCEL_NOW], [CANCEL_NOW], pause, [_change("basic", when="now")], []))
    paid = dice.choice(([], [], [_transfer(), _approved()]))
    money = [_transfer(), _approved()]
    return [
        begun, *money, wait, _change("enterprise"), *paid, wait, *spent, wait, *ends, AT_RENEWAL,
        *money,
    ]  # fmt: skip


def by_seats(dice: Random) -> list[Command]:
    """Seats come and go around uses beyond them, and beyond all seats of the plan that comes."""
    begun = Command("subscribe", {
        "plan": "walk-team", "interval": "monthly", "trial": False, "way": "default",
        "quantity": dice.choice((1, 2, 4)),
    })  # fmt: skip
    life = [VISA, begun]
    for _ in range(4):
        life += [_use(dice), Command("advance", {"days": dice.choice((1, 5)), "hours": 7})]
        when = dice.choice((None, None, "now", "period_end"))
        seats = Command("seats", {"quantity": dice.choice((1, 2, 3, 6)), "when": when})
        life.append(dice.choice((seats, seats, seats, _change("pro"), _change("walk-team"))))
    return [*life, AT_RENEWAL, _use(dice), dice.choice((CANCEL_NOW, AT_RENEWAL))]


def much_used(dice: Random) -> list[Command]:
    """Uses beyond a plan in several cycles, with money that comes, comes late or never."""
    begun = Command("subscribe", {
        "plan": dice.choice(("basic", "pro", "starter", "walk-team")), "way": "default",
        "interval": dice.choice(("monthly", "monthly", "yearly")), "trial": dice.random() < 0.3,
    })  # fmt: skip
    life = [VISA, begun]
    for _ in range(3):
        life += [
            _use(dice),
            _use(dice),
            dice.choice((CARDS_PAY, CARDS_PAY, _cards_say("do_not_honor"))),
        ]
        life += [dice.choice((AT_RENEWAL, Command("advance", {"days": 33, "hours": 0})))]
    return [*life, _use(dice), dice.choice((CANCEL_NOW, CANCEL_LATER, CARDS_PAY)), AT_RENEWAL]


def levels(dice: Random) -> list[Command]:
    """A level rises and falls, between plans that include more and less of it."""
    life = [VISA, BASIC]
    for _ in range(4):
        life += [_level(dice), Command("advance", {"days": dice.choice((2, 6)), "hours": 5})]
        plan = dice.choice(("pro", "basic", "walk-team"))
        life.append(_change(plan, when=dice.choice((None, "now", "period_end"))))
    return [*life, _level(dice), dice.choice((CANCEL_NOW, AT_RENEWAL)), AT_RENEWAL]


def at_the_desk(dice: Random) -> list[Command]:
    """Operators void, credit, give up and book money, around a debt or a paid invoice."""
    note = Command("credit_note", {
        "percent": dice.choice((30, 100)), "to": dice.choice(("debt", "balance")),
    })  # fmt: skip
    money = Command("record_money", {"percent": dice.choice((40, 100, 130))})
    acts = [note, money, Command("void_invoice"), Command("give_up"), _back(dice), PAY]
    dice.shuffle(acts)
    begun = dice.choice(([VISA, BASIC], _debt(4, [])))
    return [*begun, *acts[:4], CARDS_PAY, AT_RENEWAL]


def moving(dice: Random) -> list[Command]:
    """The customer moves to another zone while something is planned for the period's end."""
    home = Command("move", {"zone": dice.choice(("Asia/Tokyo", "America/Los_Angeles", "UTC"))})
    planned = dice.choice((
        [], [CANCEL_LATER, Command("reactivate")], [_change("pro", "yearly", "period_end")],
        [Command("extend_plan", {"days": 3})], [Command("agree", {"terms": "committed"})],
        [Command("pause_plan", {"at": "period_end"})], [Command("cancel_at", {"days": 45})],
    ))  # fmt: skip
    yearly = Command("subscribe", {**BASIC.terms, "interval": "yearly"})
    later = [_used("777"), Command("advance", {"days": 32, "hours": 0})] * 2
    return [VISA, dice.choice((BASIC, BASIC, yearly)), home, *planned, AT_RENEWAL, *later]


def ended_for_money(dice: Random) -> list[Command]:
    """An end gives back what is not used; then somebody else takes money of the same payments."""
    plan, before = dice.choice(("basic", "pro", "pro")), dice.choice(([], [], [_back(dice)]))
    begun = Command("subscribe", {**BASIC.terms, "plan": plan})
    changed = dice.choice(([], [_change("pro" if plan == "basic" else "basic", None, "now")]))
    rest = dice.choice(("credit", "refund", "refund", "refund"))
    end = Command("cancel", {"at": "now", "refund": rest})
    after = dice.choice(([], [_back(dice)], [Command("give_back", {"percent": 100})], [BASIC]))
    use = dice.choice(([], [_used("300")], [_used("777")]))
    return [VISA, begun, *use, _days(dice), *changed, *before, end, *after, AT_RENEWAL]


ARCS: Final = (
    use_of_an_unpaid_plan, cancel_meets_slow_bank, debtor_too_late, declined_change, two_cards,
    stolen, debtor_in_time, cancelled_debtor, slow_bank, use_of_an_ended_plan, debited, backed_up,
    flips, discounted, given_back, taken_back, pausing, by_paypal, two_ways, mistaken_uses, agreed,
    at_the_desk, by_transfer, by_seats, much_used, levels, moving, ended_for_money,
)  # fmt: skip


def _debt(days: int, before: list[Command]) -> list[Command]:
    """Subscribed, and so many days after a renewal that no card pays."""
    late = Command("to_renewal", {"days": days, "seconds": 0})
    return [VISA, BASIC, *before, _cards_say("insufficient_funds", then="last"), late]


def _settling(dice: Random) -> list[Command]:
    """Cards pay again, and the debt is settled."""
    ways = ([PAY], [Command("forgive")], [_transfer(), _approved()])
    return [CARDS_PAY, *dice.choice(ways)]


def _back(dice: Random) -> Command:
    return Command("refund", {"percent": dice.choice((40, 100)), "to": "payer"})


def _change(plan: str, interval: str | None = None, when: str | None = None) -> Command:
    return Command("change_plan", {"plan": plan, "interval": interval, "when": when})


def _days(dice: Random) -> Command:
    return Command("advance", {"days": dice.choice((1, 3, 40)), "hours": 0})


def _cards_say(word: str, then: str = "normal") -> Command:
    return Command("script", {"words": [word], "then": then})


def _use(dice: Random) -> Command:
    feature = dice.choice(("ai_responses", "ai_responses", "api_calls", "document_uploads"))
    return Command("record", {"feature": feature, "amount": dice.choice(("300", "777", "6000"))})


def _level(dice: Random) -> Command:
    amount = dice.choice(("3", "12", "40", "130"))
    return Command("record", {"feature": "storage_gb", "amount": amount})


def _used(amount: str) -> Command:
    return Command("record", {"feature": "ai_responses", "amount": amount})


def _transfer() -> Command:
    return Command("submit")


def _approved() -> Command:
    return Command("approve", {"percent": 100})

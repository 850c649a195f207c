"""Random lives of accounts up to some moment, and whether the future shown there comes true.

A life is made of what customers, payers and operators do; its dice come from a seed, so that a
life that fails is lived again by its number.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, NamedTuple

from tests.integration.actors import Actors, Customer, Json, instant, wait_for
from tests.integration.dunning.dunning_setup import owed, steer, under
from tests.integration.operator_acts import walk_to
from tests.integration.payments.manual_payments import decide, submit

LOOK_AHEAD: Final = timedelta(days=75)
SHOWN: Final = 40
STARTS: Final = ("2027-01-01T10:00:00Z", "2027-01-31T10:00:00Z", "2027-02-14T23:30:00Z")
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York")
POLICIES: Final = (
    {"final_action": "unpaid"},
    {"final_action": "cancel"},
    {"final_action": "cancel", "days": [0, 10, 40]},
    {"final_action": "uncollectible"},
    {"final_action": "uncollectible", "days": [0, 5], "grace_days": 30},
)

RUNS: Final = {"active": "running", "past_due": "running", "trialing": "running"}

# What is shown as a step to come, read back from the rows once it happened.
HAPPENED: Final = """
SELECT s.ran_at AS at, s.name, i.total_minor::bigint AS cents, NULL::numeric AS credits
FROM steps s JOIN invoices i ON i.account_id = s.account_id AND i.created_at = s.ran_at
WHERE s.account_id = %(me)s AND s.name IN ('renew', 'end_trial') AND i.period_start IS NOT NULL
UNION ALL
SELECT s.ran_at, s.name, i.total_minor, NULL
FROM steps s JOIN invoices i ON i.fact_key = s.key
WHERE s.account_id = %(me)s AND s.name = 'bill_early'
UNION ALL
SELECT t.started_at, 'charge', coalesce(p.amount_minor,
       i.amount_due_minor - i.amount_paid_minor - coalesce(
           (SELECT sum(n.amount_minor) FROM credit_notes n
            WHERE n.invoice_id = i.id AND n.created_at <= t.started_at), 0)), NULL
FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
LEFT JOIN payments p ON p.id = t.payment_id
WHERE i.account_id = %(me)s
UNION ALL
SELECT s.ran_at, s.name, i.amount_due_minor - i.amount_paid_minor - coalesce(
           (SELECT sum(n.amount_minor) FROM credit_notes n
            WHERE n.invoice_id = i.id AND n.created_at <= s.ran_at), 0), NULL
FROM steps s JOIN invoices i ON public_id('inv', i.id) = split_part(s.key, '/', 1)
WHERE s.account_id = %(me)s AND s.name = 'give_up'
UNION ALL
SELECT s.ran_at, s.name, NULL, NULL
FROM steps s
WHERE s.account_id = %(me)s
  AND (s.name IN ('cycle', 'end', 'end_unpaid', 'end_approval', 'retire', 'tell_renewal',
                  'tell_trial_ending')
       OR s.name = 'end_trial' AND s.result IN ('paused', 'canceled'))
UNION ALL
SELECT t.at, 'expire_credits', NULL, -t.amount
FROM credit_transactions t
WHERE t.account_id = %(me)s AND t.kind = 'expire'
UNION ALL
SELECT l.created_at, 'grant', NULL, l.amount
FROM credit_lots l
WHERE l.account_id = %(me)s AND l.kind = 'plan'
"""


class Event(NamedTuple):
    """One thing, as shown before or as it happened."""

    at: datetime
    name: str
    cents: int | None
    credits: Decimal | None


@dataclass
class FutureLife:
    """One account, what was done to it, and what its timeline said then."""

    number: int
    customer: Customer
    dice: Random
    past: list[str] = field(default_factory=list)
    """Its story, in words."""
    coming: list[Json] = field(default_factory=list)

    @property
    def story(self) -> str:
        return f"life {self.number}: {'; '.join(self.past)}"

    def often(self, chance: float) -> bool:
        return self.dice.random() < chance

    async def ask(self, method: str, path: str, body: Json | None = None, **more: Any) -> Json:
        return await self.customer.ask(method, path, body, **more)

    async def now(self) -> datetime:
        return instant((await self.customer.clock())["clock_at"])

    async def wait(self, days: int) -> None:
        self.past.append(f"{days} days pass")
        await walk_to(self.customer, await self.now() + timedelta(days=days))

    # -- the past ----------------------------------------------------------------------

    async def live(self) -> None:
        """From the first day to the moment at which the future is looked at."""
        await self.begin()
        if self.often(0.3):
            await self.choose_add_ons()
        if self.often(0.6):
            policy = self.dice.choice(POLICIES)
            self.past.append(f"dunning {policy}")
            await under(self.customer, policy)
        if self.often(0.6):
            await self.run()
        if self.often(0.6):
            await self.fall_behind()
        if self.often(0.3):
            await self.use()
        if self.often(0.2):
            await self.cancel()

    async def begin(self) -> None:
        plan = self.dice.choice(("basic", "basic", "pro"))
        interval = "yearly" if self.often(0.15) else "monthly"
        if self.often(0.2):
            self.past.append(f"a trial of {plan}, {interval}")
            if self.often(0.7):
                self.past.append("with a card")
                await self.customer.save_card()
            body = {"plan": plan, "interval": interval}
            await self.ask("POST", "/billing/subscription", body, status=201)
        else:
            self.past.append(f"{plan}, {interval}")
            await self.customer.subscribed(plan, interval=interval)

    async def run(self) -> None:
        """Some months without trouble: use beyond the plan, add-ons, a threshold."""
        if self.often(0.3):
            await self.set_threshold(self.dice.choice((500, 2000)))
        if self.often(0.6):
            await self.choose_add_ons()
        if self.often(0.7):
            await self.use()
        await self.wait(self.dice.choice((3, 17, 31, 45)))
        if self.often(0.4):
            await self.choose_add_ons()
        if self.often(0.4):
            await self.use()

    async def use(self) -> None:
        status = (await self.customer.subscription())["status"]
        if status not in ("active", "past_due", "trialing"):
            return
        amount = str(self.dice.choice((300, 777, 1234.5, 6000)))
        self.past.append(f"{amount} used")
        body = {"feature_type": "ai_responses", "usage_amount": amount}
        await self.customer.call("POST", "/usage/record", body)

    async def choose_add_ons(self) -> None:
        wanted = [{"add_on": "ai-500", "quantity": self.dice.choice((1, 2, 3))}]
        if self.often(0.4):
            wanted.append({"add_on": "storage-50", "quantity": 1})
        answer = await self.customer.call("PUT", "/billing/subscription", {"add_ons": wanted})
        if answer.status_code == 200:
            self.past.append(f"add-ons {[one['quantity'] for one in wanted]}")

    async def set_threshold(self, cents: int) -> None:
        self.past.append(f"threshold {cents}")
        path = f"/admin/accounts/{self.customer.id}/billing-threshold"
        body = {"threshold_cents": cents, "reason": "a new customer"}
        await self.customer.actors.operate("PUT", path, body)

    async def fall_behind(self) -> None:
        """The card declines at the next period; days later somebody may do something about it."""
        shown = await self.customer.subscription()
        if shown["status"] not in ("active", "trialing") or not await self.has_customer():
            return
        reason = self.dice.choice(("insufficient_funds", "do_not_honor", "stolen_card"))
        await self.customer.script(reason, then="last")
        if self.often(0.5):
            await self.use()
        self.past.append(reason)
        late = timedelta(days=self.dice.choice((0, 0, 1, 4, 9, 35)))
        end = instant(shown["current_period_end"])
        await walk_to(self.customer, end + late)
        self.past.append(f"{late.days} days after {end:%-d %b}")
        open_ones = (await self.ask("GET", "/billing/invoices?status=pending"))["invoices"]
        if not open_ones:
            return
        acts = (
            self.forgive, self.send, self.submit, self.extend, self.change_card, self.send,
            self.wait_a_day,
        )  # fmt: skip
        await acts[self.number % len(acts)]()
        if self.often(0.3):
            await self.use()

    async def has_customer(self) -> bool:
        query = "SELECT stripe_customer_id AS id FROM accounts WHERE id = %(me)s"
        return (await self.customer.rows(query))[0]["id"] is not None

    async def forgive(self) -> None:
        if (await self.customer.subscription())["status"] not in ("past_due", "unpaid"):
            return
        self.past.append("forgiven")
        await steer(self.customer, "forgive", {"reason": "our fault"})

    async def extend(self) -> None:
        if (await self.customer.subscription())["status"] != "past_due":
            return
        self.past.append("extended")
        await steer(self.customer, "extend", {"days": 5})

    async def change_card(self) -> None:
        """A new card, which is declined as well, or none any more."""
        if self.often(0.5):
            self.past.append("another card")
            await self.customer.save_card(
                "pm_card_mastercard", make_default=True, confirm="DEFAULT"
            )
        else:
            self.past.append("no card any more")
            await self.customer.rows(
                "UPDATE payment_methods SET status = 'detached', is_default = false"
                " WHERE account_id = %(me)s"
            )

    async def wait_a_day(self) -> None:
        await self.wait(1)

    async def submit(self) -> Json:
        self.past.append("manual")
        return await submit(self.customer, (await owed(self.customer))["invoice_id"])

    async def send(self) -> None:
        """Money by hand: less than is owed, as much, or more."""
        debt = (await owed(self.customer))["amount_remaining"]
        sent = await self.submit()
        received = self.dice.choice((debt // 3, debt // 2, debt - 20, debt, debt + 777))
        self.past.append(f"sent {received} of {debt}")
        await decide(self.customer, sent, "approve", amount_minor=received)

    async def cancel(self) -> None:
        shown = await self.customer.subscription()
        if shown["status"] not in ("active", "past_due"):
            return
        when = self.dice.choice(("period_end", "period_end", "now"))
        self.past.append(f"cancel at {when}")
        await self.ask("POST", "/billing/subscription/cancel", {"at": when})

    # -- the future -----------------------------------------------

    async def foresee(self) -> None:
        """Read the future, and have the cards behave as it assumes."""
        now = await self.now()
        future = await wait_for(self.future, "nothing is due now", lambda seen: is_calm(seen, now))
        self.coming = [one for one in future if instant(one["at"]) <= now + LOOK_AHEAD]
        tries = [one for one in self.coming if one["name"] == "charge" and has_card(one)]
        if tries:
            words = ["insufficient_funds" if declines(one) else "succeed" for one in tries]
            await self.customer.script(*words, then="normal")

    async def future(self) -> list[Json]:
        shown = await self.ask("GET", f"/billing/timeline?upcoming={SHOWN}")
        return list(shown["future"])

    async def comes_true(self) -> list[str]:
        """Walk almost to the last instant shown; answers a line for each difference."""
        since, last = await self.now(), instant(self.coming[-1]["at"]) if self.coming else None
        if last is None or last <= since:
            return []
        status = (await self.customer.subscription())["status"]
        await walk_to(self.customer, last - timedelta(seconds=1))
        rows = await self.customer.rows(HAPPENED)
        seen = [Event(row["at"], row["name"], row["cents"], row["credits"]) for row in rows]
        lines = differences(foreseen(self.coming, last), [one for one in seen if one.at > since])
        became = (await self.customer.subscription())["status"]
        wanted = ends_as(status, [one for one in self.coming if instant(one["at"]) < last])
        return lines if RUNS.get(became, became) == wanted else [*lines, f"{became}, not {wanted}"]


def is_calm(coming: list[Json], now: datetime) -> bool:
    """True when all that was due is done."""
    return all(one["name"] == "check" or instant(one["at"]) > now for one in coming)


def has_card(shown: Json) -> bool:
    """True for a shown charge that reaches a card."""
    return " by " in shown["words"]


def declines(shown: Json) -> bool:
    """True for a shown charge that is assumed to fail: that of an invoice with a case."""
    name = (shown["only_if"] or "").removesuffix(" is not paid before")
    return bool(name) and f" for {name}" in shown["words"]


def foreseen(coming: list[Json], last: datetime) -> list[Event]:
    """The shown events, as they can be found again; looks at the provider leave no trace."""
    found = []
    for one in coming:
        at, gained = instant(one["at"]), Decimal(one["credits"]) if one["credits"] else None
        ends = one["name"] == "expire_credits"
        if one["name"] != "check":
            found.append(Event(at, one["name"], one["amount_cents"], gained if ends else None))
        if gained is not None and not ends:
            found.append(Event(at, "grant", None, gained))
    return [one for one in found if one.at < last]


def ends_as(status: str, coming: list[Json]) -> str:
    """The status that these entries lead to; active and past due are one."""
    status = RUNS.get(status, status)
    for one in coming:
        said = one["words"]
        if "becomes unpaid" in said:
            status = "unpaid"
        elif one["name"] in ("end", "end_unpaid") or said.endswith("canceled"):
            status = "canceled"
        elif one["name"] == "end_trial":
            status = "paused" if said.endswith("paused") else "running"
    return status


def differences(shown: list[Event], seen: list[Event]) -> list[str]:
    """Each event of one list that the other has not."""
    rest, lines = list(seen), []
    for one in shown:
        if one in rest:
            rest.remove(one)
        else:
            lines.append(f"shown, not seen: {words(one)}")
    lines += [f"seen, not shown: {words(one)}" for one in rest]
    return sorted(lines, key=lambda line: line.partition(": ")[2])


def words(one: Event) -> str:
    """An event on one line."""
    return f"{one.at:%Y-%m-%d %H:%M} {one.name} {one.cents} {one.credits}"


async def born(actors: Actors, number: int) -> FutureLife:
    """The life of this number, not lived yet."""
    dice = Random(number)
    customer = await actors.customer_on_clock(dice.choice(STARTS), zone=dice.choice(ZONES))
    return FutureLife(number, customer, dice)

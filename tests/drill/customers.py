"""Incidents that a customer tells of: what he paid, what he used, what his card refused."""

from pathlib import Path
from typing import Final
from uuid import uuid4

from devstack.options import ROOT
from tests.integration.actors import API, Actors, Customer, Json
from tests.integration.dunning.dunning_setup import case, overdue
from tests.integration.rebuild.conftest import billing

TERMS: Final[Json] = {
    "name": "Drilled", "family": "drilled", "description": "A plan whose point was misplaced",
    "monthly_credits": 100, "prices": {"month": {"USD": 4900}},
}  # fmt: skip
CHEAP: Final[Json] = TERMS | {"prices": {"month": {"USD": 490}}}
CARDS: Final = 4
EACH: Final = 9
"""Charges of a card: one that is declined more often is not tried any more."""


async def command(actors: Actors, *words: str) -> str:
    """A command that must go well; what it said."""
    code, said = await billing(actors, *words)
    assert code == 0, f"billing {' '.join(words)}: {said}"
    return said


async def adjust(actors: Actors, customer: Customer, amount: str, reason: str) -> None:
    """`POST /admin/credits/adjust`."""
    body = {"account_id": customer.id, "amount": amount, "reason": reason}
    headers = actors.headers("*", "admin", str(uuid4()))
    answer = await actors.client.post(f"{API}/admin/credits/adjust", json=body, headers=headers)
    assert answer.is_success, answer.text


class WrongPrice:
    """A price a tenth of the right one is published, and somebody subscribes at it."""

    def __init__(self) -> None:
        self.customer: Customer | None = None

    async def plant(self, actors: Actors) -> None:
        """Publish both, one after the other."""
        for terms in (TERMS, CHEAP):
            await actors.operate("PUT", "/admin/plans/drilled?allow_large_change=true", terms)
        self.customer = await actors.customer_on_clock()
        await self.customer.subscribed("drilled")

    async def look(self, actors: Actors) -> str:
        """The audit and the list of subscriptions: by whom, and for whom."""
        trail = await actors.operate("GET", "/admin/audit?subject=plan%20drilled")
        sold = await actors.operate("GET", "/admin/subscriptions?plan=drilled&price=490")
        newest, version = trail["data"][0], sold["data"][0]["price_version"]
        return f"{newest['action']} by {newest['actor']}; price_version {version}"

    async def mend(self, actors: Actors) -> None:
        """`billing subscription undo-price`, and the next month has the right price."""
        words = (
            "--currency", "USD", "--wrong-version", "2", "--right-version", "1",
            "--reason", "a slip of the pen",
        )  # fmt: skip
        said = await command(actors, "subscription", "undo-price", "drilled", *words)
        assert "given back" in said, said
        plans = (await actors.operate("GET", "/admin/plans"))["data"]
        (plan,) = [one for one in plans if one["key"] == "drilled"]
        assert plan["prices"][0]["amount_minor"] == 4900, plan


class LargeStep:
    """A catalog with a price whose point was misplaced is applied."""

    said = ""

    async def plant(self, actors: Actors) -> None:
        """`billing catalog apply --yes`."""
        wrong = Path(actors.stack.data) / "catalog.yaml"
        right = (ROOT / "catalog.yaml").read_text()
        wrong.write_text(right.replace("month: {USD: 4900,", "month: {USD: 490,"))
        code, self.said = await billing(actors, "catalog", "apply", "--yes", "--file", str(wrong))
        assert code != 0, self.said

    async def look(self, actors: Actors) -> str:
        """The refusal."""
        return " ".join(self.said.split())

    async def mend(self, actors: Actors) -> None:
        """Nothing was sold at it."""
        said = await command(actors, "catalog", "diff")
        assert "plan pro " not in said, said


class CreditsUsed:
    """A customer finds that too many credits were used."""

    def __init__(self) -> None:
        self.customer: Customer | None = None

    async def plant(self, actors: Actors) -> None:
        """Uses that he does not remember."""
        self.customer = await actors.customer()
        await self.customer.bought("small")
        use = {"product_id": "gpt-4", "usage_amount": "1000", "user_id": "ann"}
        for _ in range(3):
            await self.customer.ask("POST", "/usage/record", use)

    async def look(self, actors: Actors) -> str:
        """`GET …/explain` of the debit names each use with its arithmetic."""
        assert self.customer is not None
        listed = await self.customer.ask("GET", "/billing/credits/transactions")
        debit = next(one for one in listed["data"] if one["kind"] == "debit")
        path = f"/billing/credits/transactions/{debit['transaction_id']}/explain"
        told = await self.customer.ask("GET", path)
        uses = [f"{one['product_id']} by {one['user_id']}: {one['words']}" for one in told["uses"]]
        return "; ".join([told["words"], *uses])

    async def mend(self, actors: Actors) -> None:
        """`POST /admin/credits/adjust`."""
        assert self.customer is not None
        before = await self.customer.credits()
        await adjust(actors, self.customer, "6", "uses of a test")
        assert await self.customer.credits() == before + 6


class OneCustomerPaused:
    """A customer asks for patience while his card declines."""

    def __init__(self) -> None:
        self.customer: Customer | None = None

    async def plant(self, actors: Actors) -> None:
        """His renewal fails."""
        self.customer = await overdue(actors)

    async def look(self, actors: Actors) -> str:
        """The case says what comes next."""
        assert self.customer is not None
        found = await case(self.customer)
        return f"dunning {found['status']}: {found['next_step']} at {found['next_at']}"

    async def mend(self, actors: Actors) -> None:
        """Hold all his recoveries, and go on when he asks for it."""
        assert self.customer is not None
        words = ("--account", self.customer.id, "--reason", "he asked for patience")
        await command(actors, "steer", "pause-dunning", *words)
        tried = len(await self.customer.effects(None))
        await self.customer.advance(days=10)
        assert len(await self.customer.effects(None)) == tried, "nothing is tried meanwhile"
        await self.customer.script("succeed", then="last")
        await command(actors, "steer", "resume-dunning", *words)
        await command(actors, "steer", "retry", *words)
        await self.customer.until_subscription("active")


async def decline_many(actors: Actors) -> None:
    """A bank declines whatever it is asked for."""
    await _charge(actors, 402, "insufficient_funds")


async def take_many(actors: Actors) -> None:
    """The bank is well: what is tried again is taken."""
    await _charge(actors, 201, "succeed")


async def _charge(actors: Actors, status: int, outcome: str) -> None:
    body = {"pack": "small", "payment_method": "saved_card"}
    for _ in range(CARDS):
        customer = await actors.customer()
        await customer.save_card()
        await customer.script(outcome, then="last")
        for _ in range(EACH):
            await customer.ask("POST", "/billing/purchases", body, key=str(uuid4()), status=status)


WRONG_PRICE: Final = WrongPrice()
LARGE_STEP: Final = LargeStep()
CREDITS_USED: Final = CreditsUsed()
PAUSED: Final = OneCustomerPaused()

"""SIGKILL at every marked place of what customers do: exactly once all the same.

Each cell is a place and a victim. A round holds several customers at their places (nothing of the
process runs on), kills the victim, lets go, and waits until everybody is through. The gate kills
the worker at half of the places, drawn by the day, `WHOLE=1 make test` also the others at the rest;
`KILLS=all` visits every cell, `KILLS="worker at renew.done; worker at charge.confirmed of a use"`
these two, and `KILLS_SEED`, which is printed, repeats a draw.
"""

import asyncio
import os
import random
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import pytest

from billing.core.clock import real_now
from billing.insight.integrity import service as integrity
from devstack.options import ROOT, ChildName
from tests.integration.actors import Actors, Json, wait_for
from tests.integration.faults.change_flows import MoreOfAnAddOn, NeverPaid, NewStart
from tests.integration.faults.decline_flows import (
    CanceledPurchase,
    DeclinedPurchase,
    EndedInDebt,
    GivenUp,
    HangingPurchase,
)
from tests.integration.faults.failpoints import Failpoints
from tests.integration.faults.flows import (
    CardPurchase,
    Flow,
    Recovery,
    Renewal,
    SavedCardPurchase,
    SingleUse,
    TopUp,
    insist,
)
from tests.integration.faults.recovery_flows import LateMoney, PayPalPurchase, PutOff
from tests.integration.faults.reversal_flows import (
    DisputedPurchase,
    LateRest,
    LostDispute,
    RefundedPurchase,
    RefusedRefund,
    WonDispute,
)
from tests.integration.faults.rows import open_operator
from tests.integration.reconciliations.test_reconcile import reconcile

VICTIMS: Final[tuple[ChildName, ...]] = ("api", "worker", "temporal", "postgres")
FLOWS: Final[dict[str, type[Flow]]] = {
    "api.request_parsed": CardPurchase,
    "api.claimed": CardPurchase,
    "api.committed": CardPurchase,
    "api.started": CardPurchase,
    "inbox.before_insert": CardPurchase,
    "inbox.committed": CardPurchase,
    "inbox.answered": CardPurchase,
    "inbox.told": CardPurchase,
    "intent.before_create": CardPurchase,
    "intent.created": CardPurchase,
    "intent.stored": SavedCardPurchase,
    "charge.attempt_written": SavedCardPurchase,
    "charge.before_confirm": SavedCardPurchase,
    "charge.confirmed": SavedCardPurchase,
    "confirm.in_use": HangingPurchase,
    "decline.before_cancel": DeclinedPurchase,
    "decline.canceled": DeclinedPurchase,
    "check.before_look": CardPurchase,
    "check.before_result": CardPurchase,
    "purchase.in_fulfil": CardPurchase,
    "check.result_written": CardPurchase,
    "cancel.before_result": CanceledPurchase,
    "cancel.result_written": CanceledPurchase,
    "invoice.numbered": CardPurchase,
    "refund.before_call": LateMoney,
    "refund.made": LateMoney,
    "refund.refused": RefusedRefund,
    "refund.done": LateMoney,
    "renewal.in_transaction": Renewal,
    "renew.done": Renewal,
    "charge.before_result": Recovery,
    "charge.result_written": Recovery,
    "end.done": EndedInDebt,
    "give_up.before_result": GivenUp,
    "give_up.done": GivenUp,
    "check.done": CardPurchase,
    "top_up.before_notify": TopUp,
    "unpaid.settled": PutOff,
}
"""The flow that passes each place of API and worker; a new place needs its line here."""
_HEARD: Final[dict[str, ChildName | None]] = {
    "inbox.before_insert": None,
    "inbox.committed": None,
    "inbox.answered": None,
    "inbox.told": None,
    "check.done": None,
}
"""The places that everything passes which the provider tells; `KILLS=all` alone kills there."""
ALSO: Final[dict[str, tuple[type[Flow], dict[str, ChildName | None]]]] = {
    "a use": (
        SingleUse,
        {
            "charge.attempt_written": "worker",
            "charge.confirmed": "worker",
            "charge.before_result": "worker",
            "charge.result_written": "postgres",
        },
    ),
    "a purchase by PayPal": (
        PayPalPurchase,
        {
            "charge.confirmed": "worker",
            "charge.before_confirm": "worker",
            "intent.created": "worker",
        },
    ),
    "a renewal": (
        Renewal,
        {
            "intent.stored": "worker",
            "intent.created": "worker",
            "charge.before_confirm": "postgres",
            "charge.confirmed": "worker",
        },
    ),
    "an add-on": (
        MoreOfAnAddOn,
        {
            "api.claimed": "api",
            "api.committed": "api",
            "intent.created": "worker",
            "intent.stored": "postgres",
            "charge.before_confirm": "worker",
            "charge.confirmed": "worker",
            "invoice.numbered": "worker",
            "charge.result_written": "postgres",
        },
    ),
    "a resumption": (
        NewStart,
        {
            "api.committed": "api",
            "charge.confirmed": "worker",
            "invoice.numbered": "worker",
            "charge.result_written": "worker",
        },
    ),
    "a change never paid": (
        NeverPaid,
        {
            "charge.attempt_written": "worker",
            "end_change.before_result": "worker",
            "end_change.result_written": "worker",
        },
    ),
    "a refund": (
        RefundedPurchase,
        {
            "refund.made": "worker",
            "api.committed": None,
            "invoice.numbered": "worker",
            "api.started": None,
            "refund.done": "worker",
            "refund.before_call": None,
        },
    ),
    "a late rest": (
        LateRest,
        {
            "refund.before_call": "worker",
            "check.result_written": "worker",
            "refund.made": "worker",
            "refund.done": "postgres",
        },
    ),
    "a refused refund": (
        RefusedRefund,
        {
            "api.committed": None,
            "api.started": None,
            "refund.before_call": None,
            "refund.done": None,
        },
    ),
    "a dispute": (DisputedPurchase, _HEARD),
    "a dispute lost": (LostDispute, {"invoice.numbered": "postgres", **_HEARD}),
    "a dispute won": (WonDispute, _HEARD),
}
"""Others who are stopped at some of the places, and the process that is killed there: by the gate
if it is the worker, by `WHOLE=1` each.

Few victims, for each costs a round, at every second place alone, and of a sixth of these people:
the day says which, or `KILLS_SEED`. `KILLS=all` kills every one at each place.
"""
ONE_OF: Final = 6

PER_ROUND: Final = 7
# After the victim is back. What an API that died left claimed is free after its lease of 30 s.
RECOVERED_SECONDS: Final = 30.0
LEASE_SECONDS: Final = 30.0
# By the day, so that each place and each of ALSO has its turn.
SEED: Final = int(os.environ.get("KILLS_SEED") or real_now().toordinal())
CHOSEN: Final = os.environ.get("KILLS")

Cell = tuple[str, ChildName]
Round = tuple[ChildName, tuple[str, ...], str | None]
"""The victim, the places, and who of ALSO is held there; None: those of FLOWS."""


def draw(seed: int) -> list[Cell]:
    """One victim per place: the worker at every second one, each of the others equally often."""
    places = sorted(FLOWS)
    random.Random(seed).shuffle(places)
    others = [victim for victim in VICTIMS if victim != "worker"]
    return [
        (place, others[number // 2 % len(others)] if number % 2 else "worker")
        for number, place in enumerate(places)
    ]


def chosen(words: str) -> list[Cell]:
    """Every cell, or the ones that are named."""
    every = [(place, victim) for place in sorted(FLOWS) for victim in VICTIMS]
    return [(p, v) for p, v in every if words == "all" or f"{v} at {p}" in words.split("; ")]


def chosen_also(words: str | None, who: str) -> list[Cell]:
    """The same of others: the drawn cells, every cell, or the ones that are named."""
    _, gate = ALSO[who]
    if not words and list(ALSO).index(who) % ONE_OF != SEED % ONE_OF:
        return []
    if not words:
        return [(place, victim) for place, victim in list(gate.items())[::2] if victim]
    every = [(place, victim) for place in gate for victim in VICTIMS]
    named = words.split("; ")
    return [(p, v) for p, v in every if words == "all" or f"{v} at {p} of {who}" in named]


def rounds(cells: list[Cell], who: str | None = None) -> Iterator[Round]:
    """Cells of one victim share a kill, a few at a time; those that wait for a lease together."""
    for victim in VICTIMS:
        places = sorted(place for place, killed in cells if killed == victim)
        for start in range(0, len(places), PER_ROUND):
            yield victim, tuple(places[start : start + PER_ROUND]), who


CELLS: Final = chosen(CHOSEN) if CHOSEN else draw(SEED)
ROUNDS: Final = [
    *rounds(CELLS),
    *(one for who in ALSO for one in rounds(chosen_also(CHOSEN, who), who)),
]


def named(cells: Round) -> str:
    """Name of a round in a report."""
    victim, places, who = cells
    return f"{victim} at {', '.join(places)}{f' of {who}' if who else ''}"


def test_every_place_has_its_customer_and_stands_in_the_code() -> None:
    assert len(draw(SEED)) >= 24
    placed = {
        name
        for folder in ("api", "activities", "billing")
        for file in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'failpoint\(f?"([^"]+)"\)', file.read_text())
    }
    # Each step passes places of these names: tests kill at some of them.
    of_any_step = {name.partition("}")[2] for name in placed if name.startswith("{")}
    chosen = {place for place in FLOWS if place.endswith(tuple(of_any_step))}
    assert {name for name in placed if not name.startswith("{")} == FLOWS.keys() - chosen


def test_every_place_has_a_line_in_the_documents() -> None:
    page = (ROOT / "docs" / "what-if-it-dies.md").read_text()
    first, *_ = page.split("## A part is away")
    assert set(re.findall(r"`([a-z_]+\.[a-z_]+)`", first)) == FLOWS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("cells", ROUNDS, ids=named)
async def test_nothing_is_lost_or_done_twice_when_it_dies_there(
    doomed: Actors, cells: Round
) -> None:
    victim, places, who = cells
    began = real_now()
    print(f"KILLS_SEED={SEED}")  # noqa: T201 (repeats the draw)
    failpoints = Failpoints(doomed.stack)
    held_there = [ALSO[who][0] if who else FLOWS[place] for place in places]
    flows = [await prepared(doomed, flow) for flow in held_there]
    bystander = await prepared(doomed, CardPurchase)
    running = []
    try:
        for place, flow in zip(places, flows, strict=True):
            # One after the other: else a customer on the way to a later place trips here.
            failpoints.arm(place)
            running.append(asyncio.create_task(flow.run()))
            await wait_for(
                lambda place=place: held(failpoints, (place,)),  # type: ignore[misc]
                f"{place} holds somebody",
                lambda seen: not seen,
            )
        running.append(asyncio.create_task(bystander.run()))
        await doomed.control.kill(victim)
    finally:
        failpoints.release()
    await doomed.control.wait(victim)
    back_at = time.monotonic()
    await asyncio.gather(*running)

    for flow in [*flows, bystander]:
        await flow.prove()
        slack = LEASE_SECONDS if victim == "api" else 0.0
        assert flow.ended_at - back_at < RECOVERED_SECONDS + slack
    await books_are_right(doomed)
    await stripe_agrees(doomed, began)


async def prepared(doomed: Actors, flow: type[Flow]) -> Flow:
    """A customer before any trouble of theirs; the last round's may still be felt."""
    return await insist(lambda: flow.prepare(doomed), f"a {flow.name} is prepared")


async def held(failpoints: Failpoints, places: tuple[str, ...]) -> list[str]:
    """The places where nobody is held yet."""
    return [place for place in places if not failpoints.holds(place)]


async def books_are_right(doomed: Actors) -> None:
    """Every invariant holds once nothing is under way any more."""

    async def violated() -> list[str]:
        async with open_operator(doomed.stack) as database:
            report = await integrity.examine(database)
        return [str(check) for check in report.checks if not check.ok]

    await wait_for(violated, "the books are right", lambda seen: not seen)


async def stripe_agrees(doomed: Actors, began: datetime) -> None:
    """Stripe's objects of the round are those of our rows, but for test accounts."""
    window = {"since_at": (began - timedelta(seconds=1)).isoformat()}

    async def differing() -> list[Json]:
        run = await reconcile(doomed, **window)
        assert run["checked"]["payments"] >= 1, "the bystander's at least"
        return list(run["discrepancies"])

    await wait_for(differing, "Stripe has what the rows say", lambda seen: not seen)

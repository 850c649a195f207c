"""Every way in which Stripe can fail us, at every call we make: never a second charge [S1].

A cell is a kind of fault and a call. `WHOLE=1 make test` visits every kind at the calls that move
money, and each other call at least once, paired by the day; the gate visits none. `FAULTS=all`
visits every cell, `FAULTS="reset at confirm"` that one, and `FAULTS_SEED` repeats a pairing; it is
printed.
"""

import ast
import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, get_args

import pytest

from billing.core.clock import real_now
from devstack.options import ROOT
from sandbox.faults import FaultKind
from tests.integration.actors import Actors
from tests.integration.faults.flows import CardPurchase, Flow
from tests.integration.faults.recovery_flows import (
    DoubtfulPurchase,
    DoubtfulRenewal,
    Expiry,
    FirstMonth,
    KeptCard,
    KnownBuyer,
    PageExpiry,
    PagePurchase,
    RemovedCard,
    RenewedCard,
    UnheardPurchase,
)
from tests.integration.faults.reversal_flows import DoubtfulRefund


@dataclass(frozen=True)
class Site:
    """One call to Stripe: its name in the gateways, and whose business makes it."""

    call: str
    flow: type[Flow]
    by: str | None = "account"
    """The link from a request to the account: its metadata, its customer, or nothing."""
    after: tuple[str, str] | None = None
    """Another fault that must come first, or the call is never made."""


CALLS: Final[dict[str, tuple[str, str]]] = {
    "customers.create": ("POST", "/v1/customers"),
    "payment_intents.create": ("POST", "/v1/payment_intents"),
    "payment_intents.list": ("GET", "/v1/payment_intents"),
    "payment_intents.confirm": ("POST", "/v1/payment_intents/*/confirm"),
    "payment_intents.retrieve": ("GET", "/v1/payment_intents/*"),
    "payment_intents.cancel": ("POST", "/v1/payment_intents/*/cancel"),
    "charges.list": ("GET", "/v1/charges"),
    "refunds.create": ("POST", "/v1/refunds"),
    "refunds.list": ("GET", "/v1/refunds"),
    "disputes.list": ("GET", "/v1/disputes"),
    "checkout.sessions.create": ("POST", "/v1/checkout/sessions"),
    "checkout.sessions.retrieve": ("GET", "/v1/checkout/sessions/*"),
    "checkout.sessions.expire": ("POST", "/v1/checkout/sessions/*/expire"),
    "setup_intents.create": ("POST", "/v1/setup_intents"),
    "setup_intents.retrieve": ("GET", "/v1/setup_intents/*"),
    "customers.payment_methods.retrieve": ("GET", "/v1/customers/*/payment_methods/*"),
    "payment_methods.detach": ("POST", "/v1/payment_methods/*/detach"),
    "raw_request of _events": ("GET", "/v1/events"),
}
"""The method and path of each call that is a site."""
UNVISITED: Final[dict[str, str]] = {
    "customers.retrieve": "a question before an act, which is asked again with it",
    "payment_intents.update": "no money: a card that pays is not kept then",
    "billing_portal.sessions.create": "no money: whoever wants the page asks again",
    "payment_methods.retrieve": "a second look at a card, where the first says no",
    "checkout.sessions.list": "by an operator, after a restore",
    "customers.list": "by an operator, after a restore",
    "setup_intents.list": "by an operator, after a restore",
    "raw_request of money_page": "a comparison: a run waits (reconciliations/test_reconcile.py)",
    "raw_request of money": "a comparison: a run waits (reconciliations/test_reconcile.py)",
    "tax.calculations.create": "no answer is a rule of the catalog (taxes)",
    "tax.calculations.line_items.list": "no answer is a rule of the catalog (taxes)",
}
"""The other calls, and why no cell is of them."""
CREATE: Final = ("payment_intents.create", "error_500_after")
LOST: Final = ("payment_intents.confirm", "reset")
LOST_REFUND: Final = ("refunds.create", "reset_after")
SITES: Final[dict[str, Site]] = {
    "make the customer": Site("customers.create", CardPurchase),
    "make the intent": Site("payment_intents.create", CardPurchase),
    "find the intent": Site("payment_intents.list", KnownBuyer, "customer", CREATE),
    "confirm": Site("payment_intents.confirm", DoubtfulPurchase),
    "confirm a renewal": Site("payment_intents.confirm", DoubtfulRenewal),
    "look at the intent": Site("payment_intents.retrieve", CardPurchase),
    "look at its card": Site("payment_intents.retrieve", FirstMonth),
    "look at its charges": Site("charges.list", DoubtfulPurchase, None, LOST),
    "cancel the intent": Site("payment_intents.cancel", Expiry),
    "give back": Site("refunds.create", DoubtfulRefund),
    "look for the refund": Site("refunds.list", DoubtfulRefund, None, LOST_REFUND),
    "look for disputes": Site("disputes.list", DoubtfulRefund, None, LOST_REFUND),
    "make a page": Site("checkout.sessions.create", PagePurchase),
    "look at the page": Site("checkout.sessions.retrieve", PagePurchase),
    "close the page": Site("checkout.sessions.expire", PageExpiry),
    "begin to save a card": Site("setup_intents.create", KeptCard),
    "look at the saving": Site("setup_intents.retrieve", KeptCard),
    "look at a card": Site("customers.payment_methods.retrieve", RenewedCard, "customer"),
    "forget a card": Site("payment_methods.detach", RemovedCard, "customer"),
    "ask for events": Site("raw_request of _events", UnheardPurchase, None),
}
MONEY: Final = ("make the intent", "confirm", "confirm a renewal", "give back")
"""The calls that move money: every kind is visited there."""
# Longer than our own patience, so that each of these is a lost answer.
SECONDS: Final = {"slow": 2.5, "hang": 2.5, "timeout_before": 5.0, "timeout_after": 5.0}
# By the day, so that each cell has its turn.
SEED: Final = int(os.environ.get("FAULTS_SEED") or real_now().toordinal())
CHOSEN: Final = os.environ.get("FAULTS")
AT_ONCE: Final = 9
REFUSED: Final = ("error_400_stored",)
UNKNOWN: Final = (*REFUSED, "error_404_missing")
REFUSALS: Final = {
    "customers.create": UNKNOWN,
    "payment_intents.create": UNKNOWN,
    "checkout.sessions.create": UNKNOWN,
    "refunds.create": UNKNOWN,
    "customers.payment_methods.retrieve": ("error_404_missing",),
}
"""The kinds that are Stripe's last word at a call; a card that it does not know is none."""

Cell = tuple[str, str]


def draw(seed: int) -> list[Cell]:
    """Every kind at the calls that move money, each other call once."""
    chance = random.Random(seed)
    sites, kinds = sorted(SITES.keys() - set(MONEY)), sorted(get_args(FaultKind))
    chance.shuffle(sites)
    chance.shuffle(kinds)
    others = [(kinds[number % len(kinds)], site) for number, site in enumerate(sites)]
    return [*((kind, site) for site in MONEY for kind in kinds), *others]


def chosen(words: str) -> list[Cell]:
    """Every cell, or the ones that are named."""
    every = [(kind, site) for site in SITES for kind in get_args(FaultKind)]
    return [cell for cell in every if words == "all" or " at ".join(cell) in words.split("; ")]


CELLS: Final = chosen(CHOSEN) if CHOSEN else draw(SEED)
GROUPS: Final = [CELLS[start : start + AT_ONCE] for start in range(0, len(CELLS), AT_ONCE)]


def calls() -> Iterator[str]:
    """Each call of Stripe in the gateways: its name in the SDK, or whose raw request it is."""
    for file in sorted((ROOT / "gateways").glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.AsyncFunctionDef):
                yield from calls_of(function)


def calls_of(function: ast.AsyncFunctionDef) -> Iterator[str]:
    """Those of one function, which may name a part of the SDK first."""
    parts = {
        node.targets[0].id: ast.unparse(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first, _, rest = ast.unparse(node.func).partition(".")
            whole = f"{parts.get(first, first)}.{rest}"
            if node.func.attr == "raw_request_async":
                yield f"raw_request of {function.name}"
            elif node.func.attr.endswith("_async") and ".v1." in whole:
                yield whole.partition(".v1.")[2].removesuffix("_async")


def test_every_call_of_the_gateways_is_a_site_or_is_named() -> None:
    visited = {site.call for site in SITES.values()}
    assert visited == CALLS.keys()
    assert not visited & UNVISITED.keys()
    assert set(calls()) == visited | UNVISITED.keys()


@pytest.mark.skipif(CHOSEN not in (None, "all"), reason="only some cells were asked for")
def test_every_kind_is_visited_where_money_moves_and_every_call_once() -> None:
    assert {site for _, site in CELLS} == set(SITES)
    for call in ("payment_intents.create", "payment_intents.confirm", "refunds.create"):
        kinds = {kind for kind, site in CELLS if SITES[site].call == call}
        assert kinds == set(get_args(FaultKind)), call


@pytest.mark.slow
@pytest.mark.parametrize(
    "cells", GROUPS, ids=lambda g: ", ".join(f"{kind} at {site}" for kind, site in g)
)
async def test_whatever_stripe_does_it_is_done_once(actors: Actors, cells: list[Cell]) -> None:
    print(f"FAULTS_SEED={SEED}")  # noqa: T201 (repeats the draw)
    await asyncio.gather(*(visit(actors, kind, SITES[site]) for kind, site in cells))


async def visit(actors: Actors, kind: str, site: Site) -> None:
    """One cell: plan the fault, let the customer through, and prove the end."""
    flow = await site.flow.prepare(actors)
    flow.may_be_refused = kind in REFUSALS.get(site.call, REFUSED)
    planned = []
    if site.after is not None:
        call, first = site.after
        method, path = CALLS[call]
        planned.append(
            await actors.sandbox.fault(
                first, method=method, path=path, metadata={"account": flow.customer.id}
            )
        )
    planned.append(await plan(actors, flow, kind, site))
    try:
        await flow.run()
        await flow.prove()
        struck = {one["id"]: one["hits"] for one in await actors.sandbox.plans("faults")}
        assert all(struck[number] == 1 for number in planned), "every fault that was planned struck"
    finally:
        for number in planned:
            await actors.sandbox.clear("faults", number)


async def plan(actors: Actors, flow: Flow, kind: str, site: Site) -> int:
    """The fault for this customer's own call."""
    method, path = CALLS[site.call]
    return await actors.sandbox.fault(
        kind,
        method=method,
        path=path,
        metadata={"account": flow.customer.id} if site.by == "account" else None,
        customer=await flow.customer.stripe_customer() if site.by == "customer" else None,
        seconds=SECONDS.get(kind),
    )

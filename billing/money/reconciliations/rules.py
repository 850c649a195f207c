"""Rules of the comparison with the provider: money, currencies and states are exact. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from billing.core.profile import TEST_PROFILE
from billing.money.reconciliations.schemas import (
    OBJECTS,
    AtStripe,
    Discrepancy,
    DiscrepancyKind,
    Here,
    MoneyPage,
    MoneyState,
    ObjectKind,
    Owner,
    Place,
    Reconciliation,
    Side,
)

WINDOW: Final = timedelta(days=14)
"""A run goes this far back. Dunning tries a card for a week and a bank takes days, so a payment is
compared again until nothing moves it any more.
"""
DISPUTED: Final = timedelta(days=120)
"""A run whose window nobody chose goes this far back for disputes: banks decide for months."""
FIRST: Final = datetime(2010, 1, 1, tzinfo=UTC)
"""The provider is no older, so no window begins or ends before."""
MOST: Final = 1_000
"""A run with so many discrepancies in its window ends there: something is wrong as a whole, such as
the key. Of those before its window it compares as many again.
"""
SETTLES: Final = timedelta(seconds=1) if TEST_PROFILE else timedelta(minutes=30)
"""Age from which an object of the provider must agree with its row: by then the poll had several
turns, and a round of tries is over.
"""
TOLERANCE: Final = "0"
"""The percentage by which amounts may differ, as answers say it: they are compared exactly."""
_NO_MONEY: Final = frozenset({"unpaid", "failed"})
"""States of an object that moved no money: nothing has to know it."""
_FOLLOWED: Final[frozenset[tuple[MoneyState, MoneyState]]] = frozenset(
    {
        ("unpaid", "paid"), ("under_way", "succeeded"), ("under_way", "failed"),
        ("succeeded", "failed"), ("open", "won"), ("open", "lost"), ("open", "closed"),
        ("lost", "won"), ("closed", "lost"),
    }
)  # fmt: skip
"""The states here and at the provider where a status check of the payment records the latter. It
takes nothing back, such as a payment that the provider calls unpaid.
"""
Verdict = Literal["same", "left_out", "foreign", "under_way"] | tuple[Discrepancy, ...]


def decide(
    kind: ObjectKind, found: AtStripe, here: Here | None, owner: Owner | None, settled: datetime
) -> Verdict:
    """Compare an object with its row, or without one with the account that its intent names.

    What changed after `settled` is still being settled, and so is a payment with a step due now.
    """
    known = here or owner
    if known is None:
        return "foreign"
    if known.is_test:
        return "left_out"
    if owner is not None and _is_seen_to(kind, found, owner):
        return "same"
    kinds = _differences(found.side, here.side if here else None)
    if not kinds:
        return "same"
    if found.changed_at > settled or (here is not None and here.is_awake):
        return "under_way"
    return tuple(
        Discrepancy(
            kind=one,
            object=kind,
            stripe_id=found.object_id,
            account_id=known.account_id,
            payment_id=known.payment_id,
            here=here.side if here else None,
            at_stripe=found.side,
            created_at=found.created_at,
        )
        for one in kinds
    )


def gone(kind: ObjectKind, here: Here) -> Discrepancy:
    """Return the discrepancy of a row whose object the provider does not have."""
    return Discrepancy(
        kind="missing_at_stripe",
        object=kind,
        stripe_id=here.object_id,
        account_id=here.account_id,
        payment_id=here.payment_id,
        here=here.side,
        created_at=here.created_at,
    )


def begins(run: Reconciliation, kind: ObjectKind) -> datetime:
    """Return where the run's window begins for objects of a kind."""
    is_longer = run.is_whole and kind == "dispute"
    return run.until_at - DISPUTED if is_longer else run.since_at


def left_behind(run: Reconciliation, found: Sequence[Discrepancy]) -> list[Discrepancy]:
    """Return the discrepancies of objects that are older than the run's window: the run compares
    again those of the run before, so that none is forgotten until both sides agree.
    """
    return [one for one in found if one.created_at < begins(run, one.object)]


def heals(one: Discrepancy) -> bool:
    """Return True if a status check of its payment is the fix; nothing else is safe."""
    if one.payment_id is None or one.at_stripe is None:
        return False
    if one.here is None:
        return True
    states = (one.here.state, one.at_stripe.state)
    if one.kind == "amount_differs":
        # A part of it came back, the first one.
        is_less = one.at_stripe.amount_minor < one.here.amount_minor
        is_lost = one.object == "dispute" and states == ("lost", "lost")
        return is_lost and is_less and not one.here.has_returned
    return one.kind == "state_differs" and states in _FOLLOWED


def span(
    place: Place, page: MoneyPage, since: datetime, until: datetime
) -> tuple[datetime, datetime]:
    """Return the time that a page covers, [first, last): rows created then belong to it. The spans
    of all pages of a kind cover the window without gaps.
    """
    goes_on = page.has_more and page.objects
    return (page.objects[-1].created_at if goes_on else since), place.until or until


def following(place: Place, page: MoneyPage, first: datetime) -> Place | None:
    """Return the place behind a page; None behind the last one of the last kind."""
    if page.has_more and page.objects:
        return Place(object=place.object, after=page.objects[-1].object_id, until=first)
    index = OBJECTS.index(place.object) + 1
    return Place(object=OBJECTS[index]) if index < len(OBJECTS) else None


def _is_seen_to(kind: ObjectKind, found: AtStripe, owner: Owner) -> bool:
    """Return True for money that no row knows and that is booked, or that the payer has again. What
    happens later to money that a restore kept is told by its events.
    """
    is_back = found.is_returned and owner.payment_id is None
    return is_back or owner.is_kept or (owner.is_recorded and kind == "payment")


def _differences(found: Side, here: Side | None) -> list[DiscrepancyKind]:
    if here is None:
        return [] if found.state in _NO_MONEY else ["missing_here"]
    differing: Mapping[DiscrepancyKind, bool] = {
        "state_differs": found.state != here.state,
        "currency_differs": found.currency != here.currency,
        "amount_differs": found.amount_minor != here.amount_minor,
    }
    return [kind for kind, differs in differing.items() if differs]

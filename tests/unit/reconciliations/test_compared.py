"""However objects and rows lie across pages and seconds, each difference is found once, whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money.reconciliations import rules
from billing.money.reconciliations.schemas import (
    AtStripe,
    Checked,
    Discrepancy,
    Here,
    MoneyPage,
    MoneyState,
    ObjectKind,
    Owner,
    Place,
    Reconciliation,
    Side,
)

ACCOUNT: Final = UUID(int=1)
BEGAN: Final = datetime(2027, 1, 1, tzinfo=UTC)
SECONDS: Final = 12
ENDED: Final = BEGAN + timedelta(seconds=SECONDS)
SIDES: Final = st.builds(
    Side,
    amount_minor=st.integers(1, 3),
    currency=st.sampled_from(["EUR", "USD"]),
    state=st.sampled_from(["paid", "unpaid"]),
)


@dataclass(frozen=True)
class Thing:
    """A payment as both sides have it, or one of them: in thousandths of a second."""

    name: str
    there: Side | None
    here: Side | None
    created: int
    written: int


@st.composite
def things(draw: st.DrawFn) -> list[Thing]:
    """Payments in a window of a few seconds: some rows are written long before their object."""
    drawn = st.tuples(
        st.none() | SIDES, st.none() | SIDES, st.integers(0, SECONDS * 1000 - 1),
        st.integers(0, 3000),
    )  # fmt: skip
    return [
        Thing(f"pi_{number}", there, here, created, max(0, created - before))
        for number, (there, here, created, before) in enumerate(draw(st.lists(drawn, max_size=12)))
    ]


def found(name: str, side: Side, at: datetime = BEGAN, changed: datetime | None = None) -> AtStripe:
    """An object of the provider, which knows whole seconds."""
    at = at.replace(microsecond=0)
    return AtStripe(
        object_id=name, intent_id=name, account="acc_x", side=side, created_at=at,
        changed_at=changed or at,
    )  # fmt: skip


def row(name: str, side: Side, at: datetime = BEGAN, **more: bool) -> Here:
    """A row with the object's id."""
    flags = {"is_test": False, "is_awake": False} | more
    return Here(
        row_id=uuid4(), object_id=name, payment_id=uuid4(), account_id=ACCOUNT, side=side,
        created_at=at, **flags,
    )  # fmt: skip


def paged(known: list[Thing], size: int) -> list[Discrepancy]:
    """Compare page by page, as a run does with the provider's lists."""
    listed = sorted(
        (found(one.name, one.there, at(one.created)) for one in known if one.there),
        key=lambda one: one.created_at,
        reverse=True,
    )
    rows = {one.name: row(one.name, one.here, at(one.written)) for one in known if one.here}
    names = {one.object_id for one in listed}
    place: Place | None = Place()
    seen: list[Discrepancy] = []
    while place is not None and place.object == "payment":
        first = next((i + 1 for i, one in enumerate(listed) if one.object_id == place.after), 0)
        page = MoneyPage(
            objects=tuple(listed[first : first + size]), has_more=first + size < len(listed)
        )
        for one in page.objects:
            owner = Owner(account_id=ACCOUNT, is_test=False)
            verdict = rules.decide("payment", one, rows.get(one.object_id), owner, ENDED)
            seen += verdict if isinstance(verdict, tuple) else ()
        since, until = rules.span(place, page, BEGAN, ENDED)
        absent = [one for one in rows.values() if since <= one.created_at < until]
        seen += [rules.gone("payment", one) for one in absent if one.object_id not in names]
        place = rules.following(place, page, since)
    return seen


def at(thousandths: int) -> datetime:
    """An instant of the window."""
    return BEGAN + timedelta(milliseconds=thousandths)


def expected(one: Thing) -> set[tuple[str, str]]:
    """The differences, told of both sides as a person would, without regard to time and pages."""
    if one.there is None:
        return {(one.name, "missing_at_stripe")} if one.here else set()
    if one.here is None:
        return {(one.name, "missing_here")} if one.there.state == "paid" else set()
    there, here = one.there.model_dump(), one.here.model_dump()
    words = {"amount_minor": "amount", "currency": "currency", "state": "state"}
    return {(one.name, f"{word}_differs") for key, word in words.items() if there[key] != here[key]}


@given(things(), st.integers(1, 5))
def test_each_difference_is_found_once_whatever_the_pages(known: list[Thing], size: int) -> None:
    seen = [(one.stripe_id, one.kind) for one in paged(known, size)]
    assert len(seen) == len(set(seen))
    assert set(seen) == set().union(*map(expected, known))


PAID: Final = Side(amount_minor=999, currency="USD", state="paid")
UNPAID: Final = Side(amount_minor=999, currency="USD", state="unpaid")
OURS: Final = Owner(account_id=ACCOUNT, is_test=False)


@pytest.mark.parametrize(
    ("here", "owner", "changed", "verdict"),
    [
        (None, None, BEGAN, "foreign"),
        (None, OURS.model_copy(update={"is_test": True}), BEGAN, "left_out"),
        (row("pi_1", UNPAID, is_test=True), None, BEGAN, "left_out"),
        (row("pi_1", PAID), None, BEGAN, "same"),
        (row("pi_1", UNPAID), None, ENDED, "under_way"),
        (row("pi_1", UNPAID, is_awake=True), None, BEGAN, "under_way"),
        (None, OURS, ENDED, "under_way"),
        (None, OURS.model_copy(update={"is_kept": True}), BEGAN, "same"),
        (None, OURS.model_copy(update={"is_recorded": True}), BEGAN, "same"),
    ],
)
def test_what_is_no_difference(
    here: Here | None, owner: Owner | None, changed: datetime, verdict: str
) -> None:
    one = found("pi_1", PAID, changed=changed)
    assert rules.decide("payment", one, here, owner, BEGAN) == verdict


@pytest.mark.parametrize(("kind", "state"), [("refund", "succeeded"), ("dispute", "lost")])
def test_what_went_back_of_money_that_a_restore_kept_is_told_by_its_events(
    kind: ObjectKind, state: MoneyState
) -> None:
    one = found("re_1", Side(amount_minor=1, currency="EUR", state=state))
    kept = OURS.model_copy(update={"is_kept": True})
    assert rules.decide(kind, one, None, kept, BEGAN) == "same"
    recorded = OURS.model_copy(update={"is_recorded": True})
    for owner in (OURS, recorded):
        assert rules.decide(kind, one, None, owner, BEGAN) != "same"


@pytest.mark.parametrize("state", ["unpaid", "failed"])
def test_an_object_that_moved_no_money_needs_no_row(state: MoneyState) -> None:
    side = Side(amount_minor=1, currency="EUR", state=state)
    assert rules.decide("refund", found("re_1", side), None, OURS, BEGAN) == "same"


def test_a_check_is_the_fix_of_what_the_provider_knows_better() -> None:
    known = OURS.model_copy(update={"payment_id": uuid4()})
    one = found("re_1", Side(amount_minor=1, currency="EUR", state="succeeded"))
    fixes = {
        name: rules.heals(verdict[0])
        for name, verdict in {
            "known payment": rules.decide("refund", one, None, known, BEGAN),
            "lost payment": rules.decide("refund", one, None, OURS, BEGAN),
            "state": rules.decide("payment", found("pi_1", PAID), row("pi_1", UNPAID), None, BEGAN),
            "unpaid there": rules.decide(
                "payment", found("pi_1", UNPAID), row("pi_1", PAID), None, BEGAN
            ),
            "gone": (rules.gone("payment", row("pi_1", PAID)),),
        }.items()
        if isinstance(verdict, tuple)
    }
    assert fixes == {
        "known payment": True, "lost payment": False, "state": True, "unpaid there": False,
        "gone": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "there", "has_returned", "heals"),
    [
        ("lost", 600, False, True),
        # A part is booked once, so a check does nothing for a second one.
        ("lost", 200, True, False), ("lost", 1200, False, False), ("open", 600, False, False),
    ],
)  # fmt: skip
def test_a_check_books_a_part_that_a_bank_returned_once(
    state: MoneyState, there: int, *, has_returned: bool, heals: bool
) -> None:
    side = Side(amount_minor=there, currency="EUR", state=state)
    here = Side(amount_minor=1000, currency="EUR", state=state, has_returned=has_returned)
    verdict = rules.decide("dispute", found("dp_1", side), row("dp_1", here), None, BEGAN)
    assert isinstance(verdict, tuple)
    assert [(one.kind, rules.heals(one)) for one in verdict] == [("amount_differs", heals)]


def test_disputes_are_compared_for_months_unless_somebody_chose_the_window() -> None:
    run = Reconciliation(
        id=uuid4(), started_at=ENDED, since_at=BEGAN, until_at=ENDED, is_whole=True, heal=False
    )
    chosen = run.model_copy(update={"is_whole": False})
    assert rules.begins(run, "dispute") == ENDED - rules.DISPUTED
    assert {rules.begins(run, kind) for kind in ("payment", "refund")} == {BEGAN}
    assert rules.begins(chosen, "dispute") == BEGAN


def test_a_run_has_a_status_and_adds_up_what_it_has_checked() -> None:
    run = Reconciliation(
        id=uuid4(), started_at=BEGAN, since_at=BEGAN, until_at=ENDED, is_whole=True, heal=False
    )
    sums: Mapping[str, int] = {"payments": 2, "foreign": 1}
    assert Checked(payments=1).plus(sums) == Checked(payments=3, foreign=1)
    assert run.status == "running"
    assert run.model_copy(update={"finished_at": ENDED}).status == "finished"
    assert run.model_copy(update={"finished_at": ENDED, "error": "refused"}).status == "failed"

"""The database gives the units of add-ons and of short cycles that the rules say, to the last."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from billing.core.errors import Conflict
from billing.core.periods import MONTH
from billing.matters.effects import Rows, Work
from billing.money.subscriptions.commands import add_ons
from billing.money.subscriptions.facts import Allowance
from billing.money.subscriptions.periods import proration, shares
from billing.money.subscriptions.schemas import Item, Paying, Subscription, SubscriptionChange
from devstack.stack import StackInfo, dsn
from tests.searching import examples
from tests.unit.worked.player import Player, instant


class Move(NamedTuple):
    """So many of an add-on are wanted from then on; each now gives these units."""

    after: timedelta
    want: int
    units: Decimal


DAY: Final = timedelta(days=1)
UNITS: Final = st.sampled_from([*map(Decimal, ("0.05", "1", "2.5", "3", "7", "15", "500"))])
STARTS: Final = st.integers(1, 29).map("2027-06-{:02}T00:00:00Z".format)
AFTER: Final = st.integers(0, 29).map(timedelta) | st.timedeltas(timedelta(0), 30 * DAY)
MOVES: Final = st.lists(
    st.builds(Move, AFTER, st.integers(0, 4), UNITS), min_size=1, max_size=4
).map(sorted)
LEAST: Final = Decimal("0.000001")
SHORT: Final = "2027-06-06T00:00:00Z"
"""Of a month of 30 days 25 are left until the first."""


@pytest.fixture(scope="module")
def database(stack: StackInfo) -> Iterator[psycopg.Connection[Any]]:
    """May write rows that refer to none."""
    with psycopg.connect(dsn(stack.superuser_url), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


@settings(max_examples=examples(25))
@given(start=STARTS, day=st.none() | st.integers(1, 28), moves=MOVES)
# Five sixths of three are two and a half, of which a number with decimals has a little less.
@example(SHORT, 1, [Move(0 * DAY, 1, Decimal(3)), Move(0 * DAY, 0, Decimal(3))])
# The halves of those that were sold before are there, though it is now sold by whole ones.
@example(SHORT, None, [Move(0 * DAY, 1, Decimal("2.5")), Move(DAY, 2, Decimal(3)),
                       Move(2 * DAY, 0, Decimal(3))])  # fmt: skip
def test_units_are_spent_if_fewer_are_left_than_the_database_will_take_away(
    database: psycopg.Connection[Any], start: str, day: int | None, moves: list[Move]
) -> None:
    player = begun(start, day)
    for move in moves:
        at = instant(start) + move.after
        if at >= player.subscription.current_period_end - DAY / 24:
            break
        wanted = {"extra": move.want} if move.want else {}
        sell_by(player, move.units)
        rows, before = player.rows.copy(), given_by(database, player.rows)
        player.play({"at": at.isoformat(), "change": {"add_ons": wanted, "when": "now"}})
        gone = before - given_by(database, player.rows)
        assert not is_refused(player, rows, wanted, before, max(Decimal(0), gone))
        assert gone <= 0 or is_refused(player, rows, wanted, before, gone - LEAST)


@settings(max_examples=examples(40))
@given(start=STARTS, day=st.integers(1, 28), cut=st.none() | AFTER, included=UNITS)
@example(SHORT, 1, None, Decimal(3))
def test_a_short_cycle_includes_the_part_of_the_rules(
    database: psycopg.Connection[Any],
    start: str,
    day: int,
    cut: timedelta | None,
    included: Decimal,
) -> None:
    player = begun(start, day)
    row = player.subscription
    end = min(row.cycle_end, row.cycle_start + max(DAY, cut or 60 * DAY))
    row = row.model_copy(update={"cycle_end": end, "current_period_end": end})
    limits = json.dumps([{"meter": "calls", "included": str(included)}])
    ((limit,),) = asked(
        database, Rows([row]), "SELECT usage_own_limits(%s, NULL, %s, %s)",
        limits, row.id, row.cycle_start,
    )  # fmt: skip
    share = proration.units_share(included, shares.of_cycle(row, MONTH))
    step = Decimal(1).scaleb(-proration.decimals_of(included))
    assert Decimal(limit["included"]) == share.quantize(step, ROUND_HALF_UP)


def begun(start: str, day: int | None) -> Player:
    """A monthly subscription of an account in UTC."""
    return Player(
        {
            "currency": "USD",
            "zone": "UTC",
            "plans": {"basic": {"month": 1900}},
            "terms": {"basic": {"add_ons": {"extra": {"units": 1, "minor": 900}}}},
            "start": {"at": start, "plan": "basic", "interval": "month", "billing_day": day},
        }
    )


def sell_by(player: Player, units: Decimal) -> None:
    """The plan sells its add-on on other terms from now on."""
    plan = player.plans["basic"]
    sold = (plan.add_ons[0].model_copy(update={"units": units}),)
    player.plans["basic"] = plan.model_copy(update={"add_ons": sold})


def is_refused(
    player: Player, rows: Rows, wanted: dict[str, int], given: Decimal, left: Decimal
) -> bool:
    """True if these add-ons cannot be had now: of the units `given` so many are not used."""
    known = Allowance(
        meter="calls", included=given, used=given - left, quantity=given - left, is_agreed=False
    )
    w = Work(rows.copy(), replace(player.facts(), allowances=(known,)))
    try:
        add_ons.choose(w, wanted, Paying(change_id=UUID(int=1), by_card=True), when="now")
    except Conflict as refusal:
        if refusal.code != "UNITS_SPENT":
            raise
        return True
    return False


def given_by(database: psycopg.Connection[Any], rows: Rows) -> Decimal:
    """The units that the add-ons give in the cycle, as the database counts them."""
    (row,) = rows.of(Subscription)
    found = asked(
        database, rows, "SELECT usage_add_on_units(%s, %s, %s)",
        row.id, row.current_period_end, row.cycle_start,
    )  # fmt: skip
    return Decimal(found[0].get("calls", 0))


def asked(database: psycopg.Connection[Any], rows: Rows, query: str, *values: Any) -> Any:
    """The answer while the rows are there, of a plan with cycles of a month."""
    with database.transaction(force_rollback=True):
        for row in (*rows.of(Subscription), *rows.of(Item), *rows.of(SubscriptionChange)):
            fields = row.model_dump()
            insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(row.TABLE),
                sql.SQL(", ").join(map(sql.Identifier, fields)),
                sql.SQL(", ").join(sql.Placeholder() * len(fields)),
            )
            database.execute(insert, [*map(_value, fields.values())])
        database.execute(
            "UPDATE subscriptions SET plan_id = p.id FROM plans p"
            " WHERE p.key = 'basic' AND p.is_current AND subscriptions.id = %s",
            [rows.of(Subscription)[0].id],
        )
        answer = database.execute(query, values).fetchone()
    assert answer is not None
    return answer


def _value(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, (dict, list)) else value

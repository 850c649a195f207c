"""Faults of the fast path of recording."""

from typing import Final

from tests.mutants.fault import Mutant

SQL: Final = "billing/metering/usage/sql"
HELD_TO_THE_LONG_WAY: Final = ("tests/integration/usage/test_fast_path.py",)
METERING: Final = (
    Mutant(
        "a batch of plain uses leaves its counters alone",
        f"{SQL}/counters/usage_count_fast.sql",
        "credits = c.credits + g.credits\n",
        "credits = c.credits\n",
        ("tests/integration/usage/test_soak.py",),
    ),
    Mutant(
        "an allowance covers the uses that go beyond it",
        f"{SQL}/limits/usage_limited_fast.sql",
        "u.used + f.amount + r.reserved <= n.included",
        "u.used + r.reserved <= n.included",
        HELD_TO_THE_LONG_WAY,
    ),
    Mutant(
        "nobody hears that an allowance is nearly used up",
        f"{SQL}/limits/usage_limited_fast.sql",
        "WHERE n.included * t.percent > (n.carried + u.used) * 100\n",
        "WHERE false AND n.included * t.percent > (n.carried + u.used) * 100\n",
        HELD_TO_THE_LONG_WAY,
    ),
    Mutant(
        "credits for one meter stay while others pay",
        f"{SQL}/paying/usage_funds_fast.sql",
        "t.there < d.amount OR l.scope IS NOT NULL",
        "t.there < d.amount",
        HELD_TO_THE_LONG_WAY,
    ),
    Mutant(
        "credits that only some uses may spend count as funds of all",
        f"{SQL}/paying/usage_funds_fast.sql",
        "(o.is_paid OR NOT d.bought_only)\n",
        "true\n",
        ("tests/integration/usage/test_funds_alike.py",),
    ),
    Mutant(
        "a blocking budget counts only what a statement asks for",
        f"{SQL}/limits/usage_beyond_budgets_fast.sql",
        "b.meter, b.limit_amount - s.used\n",
        "b.meter, b.limit_amount\n",
        HELD_TO_THE_LONG_WAY,
    ),
    Mutant(
        "an own price holds for uses of before it",
        f"{SQL}/recording/usage_own_kinds.sql",
        "AND effective_from <= u.first_at\n",
        "\n",
        HELD_TO_THE_LONG_WAY,
    ),
    Mutant(
        "free units come anew with every subscription",
        "billing/money/subscriptions/sql/usage_carried_since.sql",
        "AND p_cycle_start < greatest(",
        "AND false AND p_cycle_start < greatest(",
        ("tests/integration/usage/test_one_month.py", "-k", "that_is_paid_gives"),
    ),
    Mutant(
        "a late use takes nothing of what a later plan of its month includes",
        f"{SQL}/periods/usage_used_beside.sql",
        "WHERE p.start_at > p_start AND p.carried_since",
        "WHERE false AND p.carried_since",
        ("tests/integration/usage/test_shared_months.py", "-k", "each_part"),
    ),
    Mutant(
        "a void covers use beyond an allowance that is full without it",
        f"{SQL}/voids/usage_allot_again.sql",
        "room := least(p_units, room);\n",
        "room := p_units;\n",
        ("tests/integration/arrears/test_voids.py", "-k", "has_shrunk"),
    ),
    Mutant(
        "an agreed limit comes anew behind a short first period",
        "billing/money/subscriptions/sql/usage_agreed_left.sql",
        "AND cycle_start < p_start AND p_start < usage_whole_until(id)\n",
        "AND false\n",
        ("tests/integration/usage/test_cut_cycles.py", "-k", "gives_an_agreed_limit_once"),
    ),
    Mutant(
        "free units come anew with the rest of a cycle that was cut",
        "billing/money/subscriptions/sql/usage_carried_since.sql",
        "AND rest.start_at = p_cycle_start AND rest.of IS NOT NULL\n",
        "AND false\n",
        ("tests/integration/usage/test_one_month.py", "-k", "an_end_had_cut"),
    ),
)

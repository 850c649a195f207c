"""Numbers that were given after a backup are skipped in a series that somebody has, in no other."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.money.invoices import series, skipped

AT = datetime(2027, 1, 1, tzinfo=UTC)
Skip = Callable[[str], Awaitable[int]]


@pytest.fixture
def skip(superuser: AsyncConnection) -> Skip:
    """Skip up to a number, in a transaction that leaves nothing behind."""
    return lambda number: skipped.skip(superuser, number, "restored", AT)


async def kept(superuser: AsyncConnection, name: str) -> int:
    found = await superuser.execute(
        text("SELECT count(*) FROM invoice_series WHERE series = :name"), {"name": name}
    )
    return int(found.scalar_one())


@pytest.mark.parametrize("name", ["XYZ", "INW", "inv", "INV-NONE99", "TEST-NOBODY-INV"])
async def test_a_series_that_no_issuer_has_is_refused_and_those_that_there_are_are_named(
    superuser: AsyncConnection, skip: Skip, name: str
) -> None:
    words = f"no issuer uses the series {name}; known are CN,.* INV"
    with pytest.raises(ValueError, match=words):
        await skip(f"{name}-000055")
    assert await kept(superuser, name) == 0, "no row of it was made"


@pytest.mark.parametrize(
    ("number", "meant"),
    [("INV-15", "000015"), ("INV-0000015", "000015"), ("INV-00001\u0665", "000015")],
)
async def test_a_number_that_is_written_as_no_invoice_has_it_is_refused(
    superuser: AsyncConnection, skip: Skip, number: str, meant: str
) -> None:
    with pytest.raises(ValueError, match=f"{number} is written otherwise: was INV-{meant} meant"):
        await skip(number)


async def test_the_series_of_an_issuer_goes_on_behind_a_number_also_before_its_first_invoice(
    superuser: AsyncConnection, skip: Skip
) -> None:
    issuer = uuid4()
    await superuser.execute(
        text("INSERT INTO issuers (id, key, name) VALUES (:id, :key, 'S')"),
        {"id": issuer, "key": str(issuer)},
    )
    for kind in (series.INVOICES, series.CREDIT_NOTES):
        name = series.of_issuer(kind, issuer)
        assert (await skip(f"{name}-000055"), await skip(f"{name}-000055")) == (55, 0)


async def test_a_series_of_which_a_number_was_given_goes_on_without_an_issuer(
    superuser: AsyncConnection, skip: Skip
) -> None:
    name = "TEST-GIVEN-INV"
    await superuser.execute(
        text("INSERT INTO invoice_series VALUES (:name, 3, '2026-01-01')"), {"name": name}
    )
    assert await skip(f"{name}-000005") == 2
    noted = await superuser.execute(
        text("SELECT action, detail FROM billing_audit WHERE subject = :name"), {"name": name}
    )
    assert [tuple(row) for row in noted] == [
        ("numbers.skipped", {"first": 4, "last": 5, "reason": "restored"})
    ]


def test_the_series_of_all_are_those_of_nobody_and_of_each() -> None:
    assert series.of_all([]) == ["CN", "INV"]
    own = series.of_issuer("INV", UUID(int=7))
    assert own in series.of_all([UUID(int=7)])
    assert len(series.of_all([UUID(int=7)])) == 4

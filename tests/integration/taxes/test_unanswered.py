"""Whoever decides on a tax and never answers is told of."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.insight.health import store
from billing.money.taxation import service as taxation
from billing.money.taxation import store as profiles
from tests.integration.api_app import Api

A_QUOTE = text(
    "INSERT INTO tax_quotes (account_id, wanted, ask_at, tries) VALUES (:id, 'here', :at, :tries)"
)
AN_ANSWER = text(
    "INSERT INTO tax_quotes (account_id, wanted, address, jurisdictions, quoted_at, ask_at)"
    " VALUES (:id, 'there', 'there', '[]', :at, :at)"
)
AN_ID = text(
    "INSERT INTO tax_profiles (account_id, vat_id, vat_given_at, vat_status, vat_tries,"
    " vat_check_at, updated_at) VALUES (:id, 'DE136695976', :at, 'pending', :tries, :at, :at)"
)


async def told(connection: AsyncConnection, of: str) -> list[str]:
    """The words about this account."""
    found = (await store.look(connection)).backlog("unanswered_taxes").examples
    return [words for words in found if words.startswith(of)]


async def new_account(api: Api) -> tuple[str, dict[str, object]]:
    account = str((await api.new_account())["id"])
    return account, {"id": ids.decode(ids.ACCOUNT, account), "at": real_now()}


async def test_rates_that_never_come_are_told_of_after_a_day_unless_others_come(api: Api) -> None:
    account, of = await new_account(api)
    _, another = await new_account(api)
    async with api.database.operator() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await connection.execute(A_QUOTE, of | {"tries": 24})
        assert await told(connection, account) == []
        await connection.execute(text("UPDATE tax_quotes SET tries = 25 WHERE wanted = 'here'"))
        assert await told(connection, account) == [f"{account}: rates"]
        long_ago = {"at": real_now() - timedelta(days=3)}
        await connection.execute(AN_ANSWER, another | long_ago)
        assert await told(connection, account) == [f"{account}: rates"]
        await connection.execute(
            text("UPDATE tax_quotes SET quoted_at = now() WHERE wanted = 'there'")
        )
        assert await told(connection, account) == [], "only this address is refused"
        await connection.rollback()


async def test_an_id_about_which_its_register_says_nothing_is_told_of_after_a_day(
    api: Api,
) -> None:
    account, of = await new_account(api)
    async with api.database.operator() as connection:
        await connection.execute(AN_ID, of | {"tries": 24})
        assert await told(connection, account) == []
        await connection.execute(
            text("UPDATE tax_profiles SET vat_tries = 25 WHERE account_id = :id"), of
        )
        assert await told(connection, account) == [f"{account}: VAT id"]
        await connection.rollback()


@pytest.mark.parametrize("ended", ["vat_check_at = NULL", "exempt_because = 'a certificate'"])
async def test_an_id_that_is_asked_no_more_or_of_who_is_exempt_is_told_of_no_more(
    api: Api, ended: str
) -> None:
    account, of = await new_account(api)
    async with api.database.operator() as connection:
        await connection.execute(AN_ID, of | {"tries": 25})
        await connection.execute(
            text(f"UPDATE tax_profiles SET {ended} WHERE account_id = :id"),
            of,
        )
        assert await told(connection, account) == []
        await connection.rollback()


async def test_an_id_waits_for_a_register_where_there_is_none(api: Api) -> None:
    account, of = await new_account(api)
    async with api.database.operator() as connection:
        await connection.execute(AN_ID, of | {"tries": 0})
        now = real_now()
        account_id = ids.decode(ids.ACCOUNT, account)
        said = await taxation.follow(connection, account_id, "DE136695976", None, now)
        found = await profiles.profile(connection, account_id)
        assert (said, found.vat_tries) == ("no register is set", 0)
        sent = text("SELECT vat_check_at FROM tax_profiles WHERE account_id = :id")
        assert await connection.scalar(sent, of) == now + timedelta(days=1)
        await connection.rollback()

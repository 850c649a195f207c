"""Whoever decides on a tax and never answers is told of."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.insight.health import store
from tests.integration.api_app import Api

A_QUOTE = text(
    "INSERT INTO tax_quotes (account_id, wanted, ask_at, tries) VALUES (:id, 'here', :at, :tries)"
)
AN_ANSWER = text(
    "INSERT INTO tax_quotes (account_id, wanted, address, jurisdictions, quoted_at, ask_at)"
    " VALUES (:id, 'there', 'there', '[]', :at, :at)"
)
AN_ID = text(
    "INSERT INTO tax_profiles (account_id, vat_id, vat_given_at, vat_status, vat_tries, updated_at)"
    " VALUES (:id, 'DE136695976', :at, 'pending', :tries, :at)"
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
        await connection.execute(A_QUOTE, of | {"tries": 23})
        assert await told(connection, account) == []
        await connection.execute(text("UPDATE tax_quotes SET tries = 24 WHERE wanted = 'here'"))
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
        await connection.execute(AN_ID, of | {"tries": 23})
        assert await told(connection, account) == []
        await connection.execute(
            text("UPDATE tax_profiles SET vat_tries = 24 WHERE account_id = :id"), of
        )
        assert await told(connection, account) == [f"{account}: VAT id"]
        await connection.rollback()

"""An account's steps that query a register of VAT ids or a tax provider."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.account_base import AccountBase
from activities.dependencies import Dependencies
from billing.matters.agenda import Step
from billing.money.account_agenda.rules import AccountState
from billing.money.taxation import service as taxation
from billing.money.taxation import store as tax_profiles
from workflows.contracts import StepRequest


class TaxActivities(AccountBase):
    """The tax activities of an account; each queries without a lock and records the answer."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        self.register = dependencies.register
        self.taxes = dependencies.taxes

    @activity.defn(name="account.check_vat")
    async def check_vat(self, request: StepRequest) -> AccountState:
        step = await self.still_due(request)
        if step is None:
            return await self.look(request.ref)
        account_id = request.ref.account_id
        async with self.database.tenant(account_id) as connection:
            asked = (await tax_profiles.profile(connection, account_id)).vat_id or ""
        answer = await self.register.check(asked) if self.register else None

        async def record(connection: AsyncConnection, _: Step, at: datetime) -> str:
            return await taxation.follow(connection, account_id, asked, answer, at)

        return await self.once(request, record)

    @activity.defn(name="account.ask_tax")
    async def ask_tax(self, request: StepRequest) -> AccountState:
        if await self.still_due(request) is None:
            return await self.look(request.ref)
        account_id = request.ref.account_id
        async with self.database.tenant(account_id) as connection:
            taxes = None if await self.is_apart(connection, account_id) else self.taxes
            asked = await tax_profiles.question(connection, account_id)
        found = await taxes.jurisdictions(asked) if taxes and asked else None

        async def record(connection: AsyncConnection, _: Step, at: datetime) -> None:
            # The key stays free: addresses may come and go while a frozen clock stands still.
            if taxes is None or asked is None:
                await tax_profiles.forget_quote(connection, account_id)
            else:
                await taxation.quote(connection, account_id, asked, found, at)

        return await self.once(request, record)

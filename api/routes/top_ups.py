"""Automatic top-ups, which buy credits when few are left: the settings, and each top-up."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StrictBool

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import (
    PaymentMethodId,
    PaymentMethodName,
    PurchaseId,
    encoded,
    payment_method_row,
)
from api.answers.schemas import Answer, Body, CatalogName, Credits
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.routes.base import new_router
from api.workflow_calls import notify
from billing.catalog.plans.schemas import PositiveMinor
from billing.core import clock, ids
from billing.ledger.credits import low_balance
from billing.ledger.credits import store as balances
from billing.matters.schemas import of_account
from billing.money.invoices import account_currency
from billing.money.top_ups import service, store
from billing.money.top_ups.rules import TopUpStatus
from billing.money.top_ups.schemas import WantedSettings
from billing.money.top_ups.tables import top_ups

router = new_router("credits")


class AutoTopUpBody(Body):
    """Buy `pack` with the saved card when less than `threshold` credits are available.

    `monthly_cap_cents` limits the money of one calendar month, including tax; the default card is
    charged unless another is named here.
    """

    is_enabled: StrictBool = True
    threshold: Annotated[Credits, Field(gt=0)] = Field(
        description="A pack is bought when fewer credits than this are available"
    )
    pack: CatalogName
    payment_method_id: PaymentMethodName | None = Field(
        None, description="The card to charge; null: the account's default"
    )
    monthly_cap_cents: PositiveMinor | None = None

    def wanted(self) -> WantedSettings:
        """Return the settings as the domain's type."""
        return WantedSettings(
            is_enabled=self.is_enabled,
            threshold=self.threshold,
            pack=self.pack,
            payment_method_id=payment_method_row(self.payment_method_id),
            monthly_cap_minor=self.monthly_cap_cents,
        )


class LowBalanceBody(Body):
    """The balance below which to notify; null: only when nothing is left."""

    threshold: Annotated[Credits, Field(gt=0)] | None = Field(
        description="Below this balance in credits `evt.billing.credits.low` is sent, once per"
        " crossing; null: only when nothing is left",
    )


class LowBalanceAnswer(Answer):
    """The balance below which `evt.billing.credits.low` is published, once per crossing."""

    threshold: Credits | None = Field(
        description="The balance in credits; null: only when nothing is left"
    )


class TopUpAnswer(Answer):
    """One automatic top-up: bought, failed, over the monthly cap, or dropped."""

    top_up_id: Annotated[str, encoded(ids.TOP_UP)] = Field(validation_alias="id")
    status: TopUpStatus = Field(
        description="`wanted`: credits ran low; `buying`; `completed`; `failed`; `capped`: it would"
        " exceed the cap; `dropped`: it was not needed or allowed any more",
    )
    pack: str
    threshold: Credits = Field(description="Fewer credits than this were to be available")
    available: Credits = Field(description="The credits that were available")
    purchase_id: PurchaseId | None
    amount_cents: int | None = Field(
        validation_alias="amount_minor",
        description="What it cost or would have, in minor units; null: not known",
    )
    currency: str | None
    reason: str | None = Field(description="Why it ended so; null: nothing was said")
    wanted_at: datetime
    decided_at: datetime | None


class AutoTopUpAnswer(Answer):
    """The settings; `stopped_at` is set after three failures, with a dispute, or a cancel, until
    they are written again.
    """

    is_enabled: bool = False
    threshold: Credits | None = Field(
        None,
        description="A pack is bought when fewer credits than this are available; null: nothing is"
        " set",
    )
    pack: str | None = None
    payment_method_id: PaymentMethodId | None = None
    monthly_cap_cents: int | None = Field(None, validation_alias="monthly_cap_minor")
    failures: int = Field(0, description="How many charges failed in a row")
    stopped_at: datetime | None = None
    undecided: TopUpAnswer | None = Field(
        None, description="The top-up that is under way; null: none"
    )


@router.put(
    "/billing/credits/auto-top-up",
    responses=responses(
        "INVALID_PACK", "CURRENCY_MISMATCH", "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED"
    ),
)
async def write_auto_top_up(body: AutoTopUpBody, call: BillingCall) -> AutoTopUpAnswer:
    """Set when credits are bought automatically; if the balance is too low already, buy now. While
    enabled they fix the account's currency.
    """
    async with call.transaction() as connection:
        now = await clock.now(connection, call.account.id)
        _, wanted = await service.write(connection, call.account.id, body.wanted(), now)
        if not body.is_enabled:
            await account_currency.leave(connection, account_id=call.account.id, at=now)
    if wanted:
        await notify(call, of_account(call.account.id))
    return await _read(call)


@router.get("/billing/credits/auto-top-up", responses=responses())
async def read_auto_top_up(call: MemberCall) -> AutoTopUpAnswer:
    """The settings of automatic top-ups, and the purchase under way."""
    return await _read(call)


@router.get("/billing/credits/top-ups", responses=responses("INVALID_CURSOR"))
async def list_top_ups(
    call: MemberCall, paging: Paging, status: TopUpStatus | None = None
) -> Page[TopUpAnswer]:
    """Every automatic top-up, newest first."""
    query = store.listing(call.account.id)
    if status is not None:
        query = query.where(top_ups.c.status == status)
    keys = (top_ups.c.wanted_at, top_ups.c.id)
    async with call.transaction() as connection:
        return await paginate(connection, query, keys, paging, TopUpAnswer.of)


async def _read(call: AccountCall) -> AutoTopUpAnswer:
    async with call.transaction() as connection:
        kept = await store.settings(connection, call.account.id)
        undecided = await store.undecided(connection, call.account.id)
    return AutoTopUpAnswer.of(kept, undecided=undecided) if kept else AutoTopUpAnswer()


@router.get("/billing/credits/low-balance", responses=responses())
async def read_low_balance(call: MemberCall) -> LowBalanceAnswer:
    """The balance below which to notify; null: only when nothing is left."""
    async with call.transaction() as connection:
        return LowBalanceAnswer(threshold=await balances.low_balance(connection, call.account.id))


@router.put("/billing/credits/low-balance", responses=responses())
async def set_low_balance(body: LowBalanceBody, call: BillingCall) -> LowBalanceAnswer:
    """Set the balance below which to notify; a notification follows each crossing."""
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        kept = await low_balance.put(connection, call.account.id, body.threshold, at)
    return LowBalanceAnswer(threshold=kept)

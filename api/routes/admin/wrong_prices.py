"""Undoing a price published by mistake, for those who bought at it (docs/runbook.md)."""

from functools import partial
from typing import Annotated, Any, Final, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field

from api.answers import statuses
from api.answers.pagination import Page, PageRequest, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId, InvoiceId, SubscriptionId, encoded
from api.answers.schemas import Answer, Body, KeyPath
from api.calls import Call, refuse_other_shops
from api.dependencies import AdminCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import FreeText
from api.requests.dry_runs import undone_if
from api.routes.admin.price_moves import Cursor, MovePart, cursor_at, move, place_of
from api.routes.base import new_router
from api.routes.subscription_bodies import PriceInterval
from api.routes.subscription_previews import DryRun
from api.workflow_calls import need_temporal, wait_until_all_done
from billing.catalog.plans import rules
from billing.catalog.plans.schemas import Currency
from billing.core import ids
from billing.core.errors import BillingError
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import InvoiceLine
from billing.money.invoices.tables import invoice_lines
from billing.money.subscriptions.commands import price_moves
from billing.money.subscriptions.commands.price_moves import PriceMove
from billing.money.subscriptions.schemas import PlanWish
from billing.money.wrong_prices import service, store
from billing.money.wrong_prices.schemas import Given, GivenTo, Mistake, Named

router = new_router("subscriptions")
PAGE: Final = 50
BEHIND_ALL: Final = UUID(int=2**128 - 1)
Version = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class UndoBody(Body):
    """The price that was published by mistake, and the right version of it."""

    interval: PriceInterval = "month"
    currency: Currency = Field(description="The currency of the price, ISO 4217")
    wrong_version: Version = Field(
        examples=[2], description="The version of the price that was published by mistake"
    )
    right_version: Version = Field(description="The version that is right")
    reason: FreeText = Field(description="Told to those who paid the wrong price")
    to: GivenTo = Field(
        "balance",
        description="Where paid money goes: `balance`: to the money balance, which pays the next"
        " invoices; `payer`: back the way it was paid, unless that was by hand",
    )

    def named(self, plan: str) -> Named:
        """The two versions of the plan's price."""
        return Named(
            plan=plan,
            interval=rules.parse_interval(self.interval),
            currency=self.currency,
            wrong_version=self.wrong_version,
            right_version=self.right_version,
        )


class GivenPart(Answer):
    """An invoice that was charged at the wrong price, and the amount given back.

    It reduces what is owed first; the rest goes to the money balance, or to the payer as a refund.
    If it is `refused`, with an error code, nothing is given back.
    """

    invoice_id: InvoiceId = Field(validation_alias="id")
    invoice_number: str | None = Field(validation_alias="number")
    account_id: AccountId
    subscription_id: SubscriptionId | None
    status: str = Field(description=statuses.INVOICE)
    currency: str
    charged_cents: int = Field(
        description="What it charged at the wrong price, in minor units of `currency`"
    )
    given_back_cents: int
    refund_id: Annotated[str, encoded(ids.REFUND)] | None = Field(
        description="The refund to its payer; null: there is none"
    )
    is_repeated: bool
    refused: str | None = Field(
        description="The code of the error because of which nothing was given back; null: it was"
    )
    detail: str | None = Field(description="The same error in words")

    @classmethod
    def of_given(cls, found: Given, refused: BillingError | None) -> Self:
        """The invoice as it is afterwards."""
        return cls.of(
            found.invoice,
            charged_cents=found.charged_minor,
            given_back_cents=found.given_minor,
            refund_id=found.refund_id,
            is_repeated=found.is_repeated,
            refused=refused.code if refused else None,
            detail=refused.detail if refused else None,
        )


class UndonePage(Page[GivenPart]):
    """Invoices at the wrong price, newest first, and the subscriptions that move to the right one.

    `put_on_sale`: the right price is on sale again. `moves_left`: there are more, repeat the
    request; `moves_cursor` is the position to continue from, set even when nothing is left.
    """

    put_on_sale: bool = Field(description="True if the right price is on sale again by this")
    wrong_price_cents: int
    right_price_cents: int
    moves: list[MovePart] = Field(description="The subscriptions that move to the right price")
    moves_left: bool = Field(
        description="True if more are to move: repeat the request with `moves_cursor`"
    )
    moves_cursor: str = Field(description="Where the moves continue")


@router.post(
    "/admin/plans/{key}/undo-price",
    response_model=UndonePage,
    responses=responses(
        "PRICE_NOT_FOUND", "INVALID_CURSOR", "TEMPORAL_UNAVAILABLE", "IDEMPOTENCY_KEY_REQUIRED",
        *KEYED,
    ),
)  # fmt: skip
async def undo_price(
    key: KeyPath,
    body: UndoBody,
    call: AdminCall,
    once: OptionalKey,
    dry_run: DryRun = False,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    cursor: Cursor = None,
    moves_cursor: Cursor = None,
) -> Response | UndonePage:
    """Undo a wrong price of a plan: sell at the right one, move its subscribers there with their
    next period, and give back what each invoice overcharged, once; at most 50 per request.
    """
    asked = PageRequest(limit, None, None, cursor)
    if dry_run:
        return await _undo(call, key, body, asked, moves_cursor, dry_run=True)
    once.require()
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        return claim.answer(200, await _undo(call, key, body, asked, moves_cursor))


async def _undo(
    call: Call,
    plan: str,
    body: UndoBody,
    asked: PageRequest,
    moves_cursor: str | None,
    *,
    dry_run: bool = False,
) -> UndonePage:
    after = place_of(moves_cursor)
    async with undone_if(dry_run, call.database.operator()) as connection:
        mistake = await service.read(connection, body.named(plan), body.reason, body.to)
        put = await service.put_on_sale(connection, mistake)
        query, keys = store.charged(mistake.wrong), (invoice_lines.c.id,)
        page = await paginate(connection, query, keys, asked, _line)
        found = await price_moves.to_undo(connection, mistake.wrong, mistake.right, PAGE + 1, after)
        if dry_run and asked.cursor is not None and after is None:
            found = []  # a dry run moves nobody: the first page has listed them
        await refuse_other_shops(connection, (one.account_id for one in page.data))
        await refuse_other_shops(connection, (one.account_id for one in found[:PAGE]))
    given = [await _give_back(call, one, mistake, dry_run=dry_run) for one in page.data]
    if not dry_run:
        await wait_until_all_done(call, (one.matter for one, _ in given if one.matter))
    more = len(found) > PAGE
    moves = await _moves(call, found[:PAGE], mistake, dry_run=dry_run)
    return UndonePage(
        data=[GivenPart.of_given(*one) for one in given],
        pagination=page.pagination,
        put_on_sale=put,
        wrong_price_cents=mistake.wrong.amount_minor,
        right_price_cents=mistake.right.amount_minor,
        moves=[MovePart.of(one) for one in moves],
        moves_left=more,
        moves_cursor=cursor_at(found[PAGE - 1].id if more else BEHIND_ALL),
    )


async def _give_back(
    call: Call, line: InvoiceLine, mistake: Mistake, *, dry_run: bool
) -> tuple[Given, BillingError | None]:
    """Give back in a transaction of its own; return a refusal instead of raising it."""
    tenant = call.database.tenant
    try:
        async with undone_if(dry_run, tenant(line.account_id)) as connection:
            return await service.give_back(connection, line, mistake), None
    except BillingError as refused:
        if refused.retryable:
            raise
        async with tenant(line.account_id) as connection:
            invoice = await invoice_store.get(connection, line.invoice_id)
        found = Given(invoice=invoice, charged_minor=line.total_minor)
        return found, refused


async def _moves(
    call: Call, found: list[PriceMove], mistake: Mistake, *, dry_run: bool
) -> list[PriceMove]:
    verb = partial(
        price_moves.undo, wrong=mistake.wrong.id, right=mistake.right, reason=mistake.reason
    )
    return found if dry_run else [one for one in found if await move(call, one, verb, PlanWish())]


def _line(row: Any) -> InvoiceLine:
    return InvoiceLine.model_validate(dict(row))

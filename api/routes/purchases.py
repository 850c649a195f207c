"""Purchases of credit packs: start one, read it, list them, cancel it."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers import statuses
from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import (
    InvoiceId,
    PaymentMethodName,
    PurchaseId,
    payment_method_row,
    row_id,
)
from api.answers.schemas import (
    Answer,
    Body,
    Credits,
    ExpectedAmount,
    Url,
    UseBalance,
    optional_body,
)
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.idempotency import Claim, OptionalKey
from api.pay.pay_actions import NextAction, demand_offered, with_page
from api.pay.payer_secrets import for_caller
from api.pay.return_pages import check_return
from api.requests.coupon_codes import CouponCode
from api.routes.base import new_router
from api.workflow_calls import need_temporal, wait_until_done
from billing.catalog.plans.schemas import Currency
from billing.core import ids
from billing.core.errors import Conflict, PaymentRequired, ProviderFailure
from billing.core.failpoints import failpoint
from billing.matters.kinds import PURCHASE
from billing.matters.schemas import Matter
from billing.money.invoice_requests import manual
from billing.money.invoices import store as invoice_store
from billing.money.payments import store as payment_store
from billing.money.payments.declines import classify
from billing.money.payments.schemas import Payment
from billing.money.purchases import canceling, outcomes, rules, service, store
from billing.money.purchases.rules import HOSTED
from billing.money.purchases.schemas import NewPurchase, Purchase, PurchaseStatus
from billing.money.purchases.store import Found
from billing.money.purchases.tables import purchases

router = new_router("purchases")


class PackBody(Body):
    """The way to pay for the pack in the path."""

    payment_method: Literal["card", "saved_card", "checkout", "paypal", "manual"] = Field(
        "card",
        description="`card`: one that your client confirms; `saved_card`; `checkout`: on Stripe's"
        " page; `paypal`: on PayPal's page; `manual`: by transfer",
    )
    payment_method_id: PaymentMethodName | None = Field(
        None,
        description="The saved card; null: the account's default. With `payment_method: saved_card`"
        " only",
    )
    currency: Currency | None = Field(
        None, description="ISO 4217; by default the account's currency, else USD"
    )
    return_url: Url | None = Field(
        None,
        description="The page to which the payer comes back from Stripe's or PayPal's; null: a page"
        " of this service",
    )
    expected_amount_cents: ExpectedAmount = None
    coupon: CouponCode = None
    use_balance: UseBalance = True

    @model_validator(mode="after")
    def _fits_its_payment(self) -> Self:
        if self.payment_method_id is not None and self.payment_method != "saved_card":
            raise ValueError("payment_method_id is only allowed with payment_method: saved_card")
        if self.return_url is not None and self.payment_method not in HOSTED:
            raise ValueError(
                f"return_url is only allowed with payment_method: {' or '.join(HOSTED)}"
            )
        return self


class PurchaseBody(PackBody):
    """The pack to buy, and how to pay."""

    # Any text: an impossible name is answered like a pack that is not sold.
    pack: str = Field(description="The pack, by its key or id")
    platform: Literal["stripe"] = Field("stripe", description="The payment platform")


class PurchaseAnswer(Answer):
    """A purchase [E20]; `next_action.type` is none | confirm_card | redirect | manual | wait."""

    purchase_id: PurchaseId = Field(validation_alias="id")
    status: str = Field(description=statuses.PURCHASE)
    pack: str
    credits: Credits = Field(description="The credits that it brings")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price of the pack before discounts and tax, in minor units",
    )
    currency: str
    platform: str = Field(description="The payment platform")
    payment_method: str = Field(
        validation_alias="flow",
        description="`card`, `saved_card`, `checkout`, `paypal` or `manual`",
    )
    checkout_url: str | None = Field(
        description="Stripe's or PayPal's page on which it is paid; null: there is none"
    )
    invoice_id: InvoiceId
    failure_code: str | None
    failure_message: str | None
    next_action: NextAction = Field(examples=[{"type": "none"}])
    created_at: datetime
    expires_at: datetime = Field(description="Until when it can be paid")
    completed_at: datetime | None

    @classmethod
    def of_purchase(
        cls,
        purchase: Purchase,
        payment: Payment | None,
        transfer: dict[str, Any] | None = None,
        *,
        undecided: bool = False,
    ) -> Self:
        """Return the purchase; `transfer` asks a manual payer, `undecided` is a card's attempt, or
        the cancel that was asked for.
        """
        waits: dict[str, Any] = {"type": "wait"}
        return cls.of(
            purchase,
            checkout_url=payment.redirect_url if payment and purchase.flow in HOSTED else None,
            next_action=waits if undecided else _next_action(purchase, payment, transfer),
        )


_STARTS = {
    202: {"model": PurchaseAnswer, "description": "Still undecided; retry with the same key"},
    **responses(
        "INVALID_PACK", "INVALID_COUPON", "CURRENCY_MISMATCH", "CURRENCY_NOT_CHARGED",
        "PRICE_CHANGED", "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED", "AMOUNT_TOO_LARGE",
        "AMOUNT_TOO_SMALL", "CARD_DECLINED", "PLATFORM_ERROR", "TEMPORAL_UNAVAILABLE",
        "IDEMPOTENCY_KEY_REQUIRED", "PAYMENT_METHOD_NOT_OFFERED", "PURCHASE_STATE", *KEYED,
    ),
}  # fmt: skip


@router.post(
    "/billing/purchases", response_model=PurchaseAnswer, status_code=201, responses=_STARTS
)
async def create_purchase(body: PurchaseBody, call: BillingCall, once: OptionalKey) -> Response:
    """Start a purchase of a credit pack; `next_action` is the payer's next action [E5]."""
    await failpoint("api.request_parsed")
    if body.payment_method == "saved_card":
        once.require()
    check_return(call, body.return_url)
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        await failpoint("api.claimed")
        matter = await _begin(call, claim, body)
        await wait_until_done(call, matter)
        return await _answer(call, claim)


@router.post(
    "/billing/credit-packages/{package_id}/purchase",
    response_model=PurchaseAnswer,
    status_code=201,
    responses=_STARTS,
)
async def purchase_package(
    package_id: str,
    body: Annotated[PackBody, optional_body(PackBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Start a purchase of the pack in the path [E3]."""
    wanted = PurchaseBody.model_construct(pack=package_id, **body.model_dump())
    return await create_purchase(wanted, call, once)


@router.get("/billing/purchases", responses=responses("INVALID_CURSOR"))
async def list_purchases(
    call: MemberCall,
    paging: Paging,
    status: PurchaseStatus | None = None,
    archived: bool = False,
) -> Page[PurchaseAnswer]:
    """The account's purchases, newest first [E9]; those older than 90 days only with `archived`.

    Only payers see secrets.
    """
    query = store.listing(call.account.id, status=status, archived=archived)
    keys = (purchases.c.created_at, purchases.c.id)
    async with call.transaction() as connection:
        page = await paginate(connection, query, keys, paging, store.show)
        paid_by = await payment_store.latest_of(connection, [one.invoice_id for one in page.data])
        asked = await store.cancels_asked(connection, page.data)
        found = [Found(one, paid_by.get(one.invoice_id), one.id in asked) for one in page.data]
        shown = [for_caller(call, await _with_owed(call, connection, one)) for one in found]
    return Page(data=shown, pagination=page.pagination)


@router.get(
    "/billing/purchases/{purchase_id}",
    responses=responses("PURCHASE_NOT_FOUND"),
)
async def read_purchase(purchase_id: str, call: MemberCall) -> PurchaseAnswer:
    """One purchase, archived or not [E10]. Only payers see secrets."""
    _, answer = await _shown(call, row_id(ids.PURCHASE, purchase_id))
    return for_caller(call, answer)


@router.post(
    "/billing/purchases/{purchase_id}/cancel",
    response_model=PurchaseAnswer,
    responses={
        202: {"model": PurchaseAnswer, "description": "Not decided yet; send it again"},
        **responses(
            "PURCHASE_NOT_FOUND", "PURCHASE_STATE", "PAYMENT_PENDING", "TEMPORAL_UNAVAILABLE",
            *KEYED,
        ),
    },
)  # fmt: skip
async def cancel_purchase(purchase_id: str, call: BillingCall, once: OptionalKey) -> Response:
    """Cancel a pending purchase, once its payment is canceled at the provider."""
    canceled = row_id(ids.PURCHASE, purchase_id)
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        async with call.transaction() as connection:
            matter = await service.cancel(connection, canceled)
        if matter is not None:
            await wait_until_done(call, matter)
        return await _canceled(call, claim, canceled)


async def _canceled(call: AccountCall, claim: Claim, purchase_id: UUID) -> Response:
    """Answer from the row: 200, 202 while the provider has not answered, or raise the refusal."""
    found, answer = await _shown(call, purchase_id)
    status = found.purchase.status
    if status == "pending" and not found.is_canceling:
        raise Conflict("PAYMENT_PENDING", "the payment of this purchase came in between")
    if status not in ("pending", "canceled"):
        raise canceling.refusal(status)
    return claim.answer(200 if status == "canceled" else 202, answer)


async def _shown(call: AccountCall, purchase_id: UUID) -> tuple[Found, PurchaseAnswer]:
    """Return a purchase, and as its caller sees it."""
    async with call.glancing() as connection:
        found = await store.with_payment(connection, purchase_id)
    if found.purchase.status != "pending" or not found.flows & {"manual", "saved_card"}:
        return found, _seen(call, found, None, undecided=found.is_canceling)
    async with call.transaction() as connection:
        found = await store.with_payment(connection, purchase_id)
        return found, await _with_owed(call, connection, found)


async def _with_owed(
    call: AccountCall, connection: AsyncConnection, found: Found
) -> PurchaseAnswer:
    """Return the purchase, with the transfer that it asks for, or the link to the payment page."""
    purchase, transfer = found.purchase, None
    if purchase.status == "pending" and "manual" in found.flows:
        transfer = manual.transfer(await invoice_store.get(connection, purchase.invoice_id))
    undecided = found.is_canceling or await _is_undecided(connection, purchase)
    return _seen(call, found, transfer, undecided=undecided)


def _seen(
    call: AccountCall, found: Found, transfer: dict[str, Any] | None, *, undecided: bool
) -> PurchaseAnswer:
    purchase = found.purchase
    shown = PurchaseAnswer.of_purchase(purchase, found.payment, transfer, undecided=undecided)
    links, invoice_id = call.services.pay_links, purchase.invoice_id
    action = with_page(links, shown.next_action, purchase.account_id, "invoice", invoice_id)
    return shown.model_copy(update={"next_action": action})


async def _is_undecided(connection: AsyncConnection, purchase: Purchase) -> bool:
    """True while the result of a saved card's attempt is unknown."""
    if purchase.flow != "saved_card" or purchase.status != "pending":
        return False
    tries = await payment_store.attempts_of(connection, purchase.invoice_id)
    return not tries or any(one.status == "pending" for one in tries)


async def _begin(call: AccountCall, claim: Claim, body: PurchaseBody) -> Matter:
    """The purchase's matter: new, or from an earlier try with the same key."""
    async with call.transaction() as connection:
        begun = await claim.begun(
            connection, call.account.id, PURCHASE.workflow_id(claim.resource_id)
        )
        if begun is not None:
            return begun
        await demand_offered(call, connection, body.payment_method)
        wanted = NewPurchase(
            pack=body.pack,
            flow=body.payment_method,
            currency=body.currency,
            method_id=payment_method_row(body.payment_method_id),
            platform=body.platform,
            return_url=body.return_url,
            expected_minor=body.expected_amount_cents,
            coupon=body.coupon,
            use_balance=body.use_balance,
            is_keyed=claim.is_keyed,
        )
        return await service.start(
            connection,
            call.account.id,
            wanted,
            purchase_id=claim.resource_id,
            settings=call.settings,
        )


async def _answer(call: AccountCall, claim: Claim) -> Response:
    """Answer from the row: 201, 202 while the payment is undecided, or raise the refusal."""
    found, answer = await _shown(call, claim.resource_id)
    if found.purchase.status == "failed":
        raise _refusal(found.purchase, found.payment)
    return claim.answer(202 if answer.next_action["type"] == "wait" else 201, answer)


def _refusal(purchase: Purchase, payment: Payment | None) -> Exception:
    subject = ids.encode(ids.PURCHASE, purchase.id)
    if purchase.failure_code in (None, "PLATFORM_ERROR", "PAYMENT_CANCELED"):
        return ProviderFailure(
            "PLATFORM_ERROR",
            purchase_id=subject,
        )
    if purchase.failure_code == outcomes.REFUNDED:
        return Conflict(
            "PURCHASE_STATE",
            purchase.failure_message,
            purchase_id=subject,
            state=purchase.status,
        )
    return PaymentRequired(
        "CARD_DECLINED",
        purchase.failure_message or "the card was declined",
        purchase_id=subject,
        decline_code=purchase.failure_code,
        decline_class=(payment.failure_class if payment else None)
        or classify(purchase.failure_code, None),
    )


def _next_action(
    purchase: Purchase, payment: Payment | None, transfer: dict[str, Any] | None
) -> dict[str, Any]:
    status: str | None = payment.status if payment else None
    if payment is not None and payment.status == "completed" and payment.settled_at is None:
        status = "processing"  # approved, not booked yet
    return rules.next_action(
        status=purchase.status,
        flow=purchase.flow,
        payment_status=status,
        client_secret=payment.client_secret if payment else None,
        redirect_url=payment.redirect_url if payment else None,
        transfer=transfer,
    )

"""Billing records: the price of a use, payment of a record, and records read [F8-F20]."""

from typing import Any
from uuid import UUID

from fastapi import Response
from sqlalchemy import Select, false
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import PageAsOf, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import row_id
from api.answers.schemas import OneWord
from api.calls import AccountCall, UseCall
from api.date_range import MaybeMoment, moments
from api.dependencies import BillingUse, Fresh, MemberCall, MemberRead, MemberUse, RecordCall
from api.idempotency import Claim, OptionalKey
from api.identity.auth import SERVICE
from api.routes.base import new_router
from api.routes.billing_record_bodies import (
    CalculateAnswer,
    CalculateBody,
    PricingContext,
    ProcessBody,
    RecordAnswer,
    VoidAnswer,
    VoidBody,
    show,
)
from api.usage import card_usage
from api.user_scope import for_all, only_user, user_of
from api.workflow_calls import need_temporal, notify
from billing.catalog.rating.schemas import BY_CARD
from billing.core import clock, ids
from billing.core.errors import NotAllowed, NotFound
from billing.metering.usage import service, store
from billing.metering.usage.schemas import BillingRecord, Status
from billing.metering.usage.tables import billing_records
from billing.money.card_usage import offers
from billing.money.subscriptions import store as subscriptions
from billing.money.top_ups import store as top_up_store
from billing.money.usage_voids import service as usage_voids

router = new_router("billing records")

KEYS = (billing_records.c.occurred_at, billing_records.c.id)


@router.post(
    "/billing/calculate",
    responses=responses(
        "NOT_FOUND", "PRODUCT_PRICING_NOT_FOUND", "PRICING_UNAVAILABLE", "SUBSCRIPTION_NOT_FOUND",
        "USAGE_TOO_LARGE",
    ),
)  # fmt: skip
async def calculate_cost(body: CalculateBody, sent: MemberUse) -> CalculateAnswer:
    """Calculate the cost of a use now; nothing is written [F8-F12].

    A product without a price in credits is priced in the account's currency; then no method is
    available if no card can be charged. For a service `user_id` may name the account, as when a use
    is recorded.
    """
    call = await sent.of_user(body.user_id)
    user_of(body.user_id, call)
    used_by = for_all(body.service_type, call)
    await call.services.prices.need(call.account, body.product_id, used_by)
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        if body.pricing_context is not None:
            await _check_context(connection, call.account.id, body.pricing_context)
        found = await offers.offer(
            connection, call.account.id, body.product_id, body.usage_amount, at
        )
    return CalculateAnswer.of_offer(body, found)


@router.post(
    "/billing/process",
    response_model=RecordAnswer,
    responses={
        202: {"model": RecordAnswer, "description": "The charge is still undecided"},
        **responses(
            "BILLING_RECORD_NOT_FOUND", "BILLING_RECORD_AWAY", "INSUFFICIENT_CREDITS",
            "PAYMENT_CHARGE_NOT_OFFERED", "CARD_DECLINED", "NOT_INCLUDED", "BILLED_ON_INVOICE",
            "PRODUCT_PRICING_NOT_FOUND", "IDEMPOTENCY_KEY_REQUIRED", "TEMPORAL_UNAVAILABLE", *KEYED,
        ),
    },
)  # fmt: skip
async def process_billing(body: ProcessBody, sent: BillingUse, once: OptionalKey) -> Response:
    """Pay a deferred or failed record; a paid one is returned unchanged [F13]. Credits pay what a
    card failed to pay at the product's price in credits.

    If a service names no account, the record's is used. If a card pays, an `Idempotency-Key` is
    required: the same key charges it once.
    """
    if body.force_charge and SERVICE not in sent.caller.roles:
        raise NotAllowed("FORBIDDEN", "forcing a charge requires the role service")
    record_id = _record_id(body.billing_id)
    call = await _owner(sent, record_id)
    by_card = await card_usage.need_key(call, once, record_id, body.billing_method)
    async with once.claim(call) as claim:
        if by_card:
            await need_temporal(call, claim)
        paid = await _process(call, claim, record_id, body)
        return claim.answer(202 if paid.billing_status == "pending" else 200, RecordAnswer.of(paid))


@router.get("/billing/records", responses=responses("INVALID_CURSOR"))
async def list_billing_records(
    call: MemberRead,
    paging: Paging,
    status: Status | None = None,
    product_id: OneWord = None,
    transaction_id: OneWord = None,
    start_date: MaybeMoment = None,
    end_date: MaybeMoment = None,
    fresh: Fresh = False,
) -> PageAsOf[RecordAnswer]:
    """The account's billing records, newest use first; a member sees only its own [A14].

    `transaction_id` selects the records that this ledger entry paid. Records of archived months are
    not listed; sums of usage count them all the same.

    Empty for an unknown account [A13].
    """
    query = store.records(
        call.account_id, billing_status=status, product_id=product_id, user_id=only_user(call)
    )
    query = _paid_by(query, transaction_id)
    async with call.filtering(product_id, fresh=fresh) as connection:
        as_of = await call.as_of(connection)
        start, end = await moments(call, connection, start_date, end_date)
        page = await paginate(connection, store.between(query, start, end), KEYS, paging, show)
    return PageAsOf.of(page, as_of)


@router.get(
    "/billing/records/user/{user_id:path}",
    responses=responses("INVALID_CURSOR", "NOT_FOUND"),
)
async def list_user_records(
    user_id: str,
    call: MemberRead,
    paging: Paging,
    status: Status | None = None,
    fresh: Fresh = False,
) -> PageAsOf[RecordAnswer]:
    """The billing records of one user, newest use first [F18]; 404 for a member that is another
    user.
    """
    query = store.records(call.account_id, user_id=user_of(user_id, call), billing_status=status)
    async with call.reading(fresh=fresh) as connection:
        as_of = await call.as_of(connection)
        page = await paginate(connection, query, KEYS, paging, show)
    return PageAsOf.of(page, as_of)


@router.get(
    "/billing/records/{billing_id}",
    responses=responses("BILLING_RECORD_NOT_FOUND", "BILLING_RECORD_AWAY"),
)
async def read_billing_record(billing_id: str, call: MemberCall) -> RecordAnswer:
    """One billing record; 404 for a member if it is another user's."""
    async with call.transaction() as connection:
        found = await store.get_record(connection, call.account.id, _record_id(billing_id))
    if only_user(call) not in (None, found.user_id):
        raise NotFound("BILLING_RECORD_NOT_FOUND")
    return RecordAnswer.of(found)


@router.post(
    "/billing/records/{billing_id}/void",
    responses=responses(
        "BILLING_RECORD_NOT_FOUND", "BILLING_RECORD_AWAY", "BILLING_RECORD_STATE", "PAYMENT_PENDING"
    ),
)
async def void_billing_record(billing_id: str, body: VoidBody, sent: RecordCall) -> VoidAnswer:
    """Void a wrong use, once; a second call returns the first result.

    A record with negative figures is added to every counter, quota and sum of the use, at the use's
    own time. The open cycle does not charge the use any more. A level, such as storage, is billed
    by its highest reading and cannot be voided: 409. Neither can a use while a refund or a bank may
    take back what was paid for it: 409 `PAYMENT_PENDING`.
    """
    record_id = _record_id(billing_id)
    call = await _owner(sent, record_id)
    async with call.transaction() as connection:
        done = await usage_voids.void(connection, call.account.id, record_id, body.reason)
    if done.matter is not None:
        await notify(call, done.matter)
    return VoidAnswer.of_voided(done)


async def _owner(sent: UseCall, record_id: UUID) -> AccountCall:
    """Return the call for the account of a record. Errors: BILLING_RECORD_NOT_FOUND."""
    if sent.account is not None:
        return await sent.of_user(None)
    async with sent.database.operator() as connection:
        account_id = await store.account_of(connection, record_id)
    return await sent.of_account(ids.encode(ids.ACCOUNT, account_id))


async def _process(
    call: AccountCall, claim: Claim, record_id: UUID, body: ProcessBody
) -> BillingRecord:
    if body.billing_method in (None, BY_CARD):
        matter = await card_usage.charge_again(call, claim, record_id, body.billing_method)
        if matter is not None:
            return await card_usage.after_charge(call, matter, record_id)
    return await _pay(call, record_id, body)


async def _pay(call: AccountCall, record_id: UUID, body: ProcessBody) -> BillingRecord:
    """Pay the record now; the transaction commits before a refusal is raised."""
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        done, short = await service.pay_record(
            connection, call.account.id, record_id, body.billing_method, at,
            force=body.force_charge,
        )  # fmt: skip
        asking = await top_up_store.has_asked(connection)
    if asking:
        call.services.wake([call.account.id])
    if short is not None:
        raise short
    return done


async def _check_context(
    connection: AsyncConnection, account_id: UUID, context: PricingContext
) -> None:
    if context.subscription_id is None:
        return
    running = await subscriptions.find_open(connection, account_id)
    if running is None or context.subscription_id != ids.encode(ids.SUBSCRIPTION, running.id):
        field, message = "pricing_context.subscription_id", "no open subscription of this account"
        raise NotFound(
            "SUBSCRIPTION_NOT_FOUND", f"{field}: {message}",
            errors=[{"field": field, "message": message}],
        )  # fmt: skip


def _paid_by(query: Select[Any], transaction_id: str | None) -> Select[Any]:
    """Restrict to records that the entry paid; none if the id is not an entry's."""
    if transaction_id is None:
        return query
    try:
        return store.paid_by(query, row_id(ids.TRANSACTION, transaction_id))
    except NotFound:
        return query.where(false())


def _record_id(name: str) -> UUID:
    return row_id(ids.BILLING_RECORD, name)

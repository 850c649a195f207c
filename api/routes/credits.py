"""Credits, read only: the balance, the ledger, the lots [F1, F2]."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import LotId, TransactionId, encoded, row_id
from api.answers.schemas import Answer, Credits
from api.calls import AccountCall
from api.dependencies import MemberCall, MemberRead
from api.routes.base import new_router
from api.user_scope import only_user, others_spends
from billing.core import clock, ids
from billing.core.errors import NotFound
from billing.core.money import ZERO
from billing.insight.explanations import rules
from billing.insight.explanations import store as explanations
from billing.insight.explanations.schemas import Because, PaidUse, Share
from billing.ledger.credits import store
from billing.ledger.credits.schemas import CreditOverview, Transaction
from billing.ledger.credits.tables import credit_lots, credit_transactions

router = new_router("credits")

EntryKind = Literal["grant", "debit", "capture", "expire", "debt", "clawback", "adjustment", "void"]


_UNNAMED: Final[dict[str, Any]] = {"scope": None, "reason": "", "subject": None, "detail": {}}
RULE = "scoped before general, then priority, earliest end, free before paid, oldest"


class ExpiringAnswer(Answer):
    """Free credits that expire soon (within seven days unless configured otherwise)."""

    credits: Credits = Field(
        validation_alias="expiring", description="How many credits expire soon"
    )
    first_at: datetime = Field(
        validation_alias="expiring_at", description="When the first of them do"
    )


class BalanceAnswer(Answer):
    """The account's credits. `credits` includes held ones; `available` does not."""

    credits: Credits = Field(
        ZERO, validation_alias="balance", description="The credits, held ones included"
    )
    plan_monthly_credits: Credits = ZERO
    credits_used_this_month: Credits = Field(ZERO, validation_alias="used_this_month")
    held: Credits = Field(ZERO, description="Credits that are set aside by holds")
    available: Credits = Field(
        ZERO, description="The credits that can be spent: without what is held"
    )
    paid: Credits = Field(ZERO, description="The part of `credits` that counts as bought")
    debt: Credits = Field(ZERO, description="Credits that are owed")
    overdraft: Credits = ZERO
    expiring_soon: ExpiringAnswer | None = Field(
        None, description="Credits that expire soon; null: none do"
    )
    currency: str | None = None
    as_of: datetime

    @classmethod
    def of_overview(cls, found: CreditOverview) -> Self:
        """The balance as callers see it; the month is the calendar's in the account's zone."""
        soon = ExpiringAnswer.of(found) if found.expiring_at else None
        return cls.of(found, available=found.balance - found.held, expiring_soon=soon)


class SplitAnswer(Answer):
    """The part of one lot; negative when the lot gave credits."""

    lot_id: LotId
    amount: Credits = Field(description="The credits of this lot; below 0 it gave them")


class TransactionAnswer(Answer):
    """One entry of the ledger; `amount` is negative if credits were spent or removed.

    Of other users' spending a member sees only these sums: `reason`, `scope`, `subject` and
    `detail` are empty.
    """

    transaction_id: TransactionId = Field(validation_alias="id")
    number: int = Field(
        validation_alias="seq",
        description="The number of the entry, which grows within the account",
    )
    kind: EntryKind = Field(
        description="What it did: `grant`, `debit` for uses, `capture` of a hold, `expire`, `debt`"
        " that was paid, `clawback`, `adjustment` by an operator, or `void` of a use",
    )
    amount: Credits = Field(
        description="Credits: above 0 they came, below 0 they were spent or removed"
    )
    debt: Credits = Field(description="How much the owed credits changed: above 0 more are owed")
    balance_after: Credits
    scope: str | None = Field(description="The meter or scope that it was for; null: none")
    reason: str = Field(description="What it was for, in words")
    subject: str | None = Field(description="The id of what it was for; null: none")
    detail: dict[str, Any] = Field(description="Facts of the entry")
    created_at: datetime = Field(validation_alias="at")

    def without_use(self) -> Self:
        """Return the entry without the fields that name the use behind it."""
        return self.model_copy(update=_UNNAMED)


class TransactionDetail(TransactionAnswer):
    """One entry with its split over lots, oldest lot first."""

    lots: list[SplitAnswer] = Field(description="The part of each lot in it, oldest lot first")


class _LotPart(Answer):
    """The facts of a lot that decide its place in the burn order."""

    lot_id: LotId = Field(validation_alias="id")
    kind: str = Field(
        description="Where the credits came from: `trial`, `plan`, `purchase`, `adjustment`,"
        " `refund` or `dispute`",
    )
    scope: str | None
    priority: int
    expires_at: datetime | None = Field(description="When the credits expire; null: never")
    is_paid: bool
    granted_at: datetime = Field(validation_alias="created_at")


class LotShare(_LotPart):
    """The part of one lot in an entry, in burn order, and the reason for its place.

    `value_cents` is the share of the price of the pack that granted the lot.
    """

    amount: Credits = Field(description="The credits of this lot; below 0 it gave them")
    value_cents: int | None
    currency: str | None
    because: Because = Field(
        description="Which rule decided its place: `scope`, `priority`, `expiry`,"
        " `free_before_paid` or `age`; `held`: a hold had it; `only`: there was no choice"
    )
    words: str = Field(description="The same in words")

    @classmethod
    def of_share(cls, share: Share) -> Self:
        """The share with the facts of its lot."""
        return cls.of(
            share.lot,
            amount=share.lot.amount or ZERO,
            value_cents=share.lot.value_minor,
            because=share.because,
            words=share.words,
        )


class PassedLot(_LotPart):
    """A lot that had credits and was not used, and the reason."""

    words: str = Field(description="Why it was not used")


class PaidUseAnswer(Answer):
    """A use that an entry paid, or whose void it is, and the arithmetic of its price."""

    billing_id: Annotated[str, encoded(ids.BILLING_RECORD)] = Field(validation_alias="id")
    event_id: str | None
    user_id: str | None
    product_id: str | None
    operation: str | None
    model: str | None
    meter: str
    usage_amount: Credits
    included_units: Credits
    charged_units: Credits
    unit_price: Credits = Field(
        description="The price of a unit; where units differ in price, the average"
    )
    total_amount: Credits
    occurred_at: datetime
    words: str = Field(description="The arithmetic in words")

    @classmethod
    def of_use(cls, use: PaidUse) -> Self:
        """The use with the arithmetic of its price."""
        return cls.of(use.record, words=use.words)


class ExplanationAnswer(Answer):
    """The explanation of an entry: its inputs, the rule, the arithmetic lot by lot, and the uses
    behind it. `GET /billing/records?transaction_id=` lists more uses than the first hundred.
    """

    transaction: TransactionAnswer = Field(validation_alias="entry", description="The entry")
    paid_only: bool
    words: str = Field(description="What it did, in words")
    rule: str = Field(RULE, description="The rule by which lots are taken")
    lots: list[LotShare] = Field(
        description="The part of each lot in it, in the order in which they were taken"
    )
    passed_over: list[PassedLot]
    uses: list[PaidUseAnswer] = Field(description="The uses that it paid, 100 at most")
    uses_total: int = Field(description="How many uses it paid")


class LotAnswer(Answer):
    """Credits granted together; `remaining` includes held ones."""

    lot_id: LotId = Field(validation_alias="id")
    kind: str = Field(
        description="Where the credits came from: `trial`, `plan`, `purchase`, `adjustment`,"
        " `refund` or `dispute`",
    )
    scope: str | None
    priority: int
    is_paid: bool
    amount: Credits = Field(description="The credits that came")
    remaining: Credits = Field(description="The credits that are left, held ones included")
    held: Credits = Field(description="The credits of it that are set aside by holds")
    is_open: bool = Field(description="False: nothing is left of it")
    expires_at: datetime | None = Field(description="When the credits expire; null: never")
    created_at: datetime


@router.get("/billing/credits/balance", responses=responses())
async def read_balance(call: MemberRead) -> BalanceAnswer:
    """The balance, the plan's monthly credits, and the credits used this month [F1].

    An unknown account or a missing plan counts as zero [A13].
    """
    found = await call.services.balances.of(call.account.id) if call.account else None
    return BalanceAnswer.of_overview(found) if found else BalanceAnswer(as_of=clock.real_now())


@router.get("/billing/credits/transactions", responses=responses("INVALID_CURSOR"))
async def list_transactions(
    call: MemberRead, paging: Paging, kind: EntryKind | None = None
) -> Page[TransactionAnswer]:
    """The ledger, newest first [F2]; members see only amount and date of others' spending.

    Empty for an unknown account [A13].
    """
    keys = (credit_transactions.c.at, credit_transactions.c.seq)
    query = store.transactions(call.account_id, kind)
    async with call.transaction() as connection:
        page = await paginate(connection, query, keys, paging, TransactionAnswer.of)
        listed = [row_id(ids.TRANSACTION, one.transaction_id) for one in page.data]
        others = await others_spends(connection, call, listed)
    hidden = {ids.encode(ids.TRANSACTION, one) for one in others}
    shown = [one.without_use() if one.transaction_id in hidden else one for one in page.data]
    return page.model_copy(update={"data": shown})


@router.get("/billing/credits/transactions/{transaction_id}", responses=responses(404))
async def read_transaction(transaction_id: str, call: MemberCall) -> TransactionDetail:
    """One entry with its split over lots; 404 for a member if it spent only for others."""
    async with call.transaction() as connection:
        found, is_hidden = await _entry(connection, call, transaction_id)
    shown = TransactionDetail.of(found)
    return shown.without_use() if is_hidden else shown


@router.get("/billing/credits/transactions/{transaction_id}/explain", responses=responses(404))
async def explain_transaction(transaction_id: str, call: MemberCall) -> ExplanationAnswer:
    """Explain an entry: the lots it used in order, the reason for each place, and the uses it paid.

    A capture without a use has none: its `detail` is what the caller sent. Uses of archived months
    are not listed. 404 for a member if the entry spent only for others.
    """
    async with call.transaction() as connection:
        entry, is_hidden = await _entry(connection, call, transaction_id)
        lots = await explanations.lots(connection, call.account.id, entry)
        uses, total = await explanations.uses(connection, call.account.id, entry, only_user(call))
    found = rules.explain(entry, lots, uses, total)
    shown = TransactionAnswer.of(entry)
    return ExplanationAnswer.of(
        found,
        entry=shown.without_use() if is_hidden else shown,
        lots=[LotShare.of_share(one) for one in found.shares],
        passed_over=[PassedLot.of(one.lot, words=one.words) for one in found.passed],
        uses=[PaidUseAnswer.of_use(one) for one in found.uses],
    )


async def _entry(
    connection: AsyncConnection, call: AccountCall, name: str
) -> tuple[Transaction, bool]:
    """Return one entry, and True if its uses must be hidden. Errors: NOT_FOUND, also if the
    requesting member has no share in the spending.
    """
    found = await store.transaction(connection, row_id(ids.TRANSACTION, name))
    others = await others_spends(connection, call, [found.id])
    if not others.get(found.id, True):
        raise NotFound("NOT_FOUND")
    return found, found.id in others


@router.get("/billing/credits/lots", responses=responses("INVALID_CURSOR"))
async def list_lots(call: MemberRead, paging: Paging, open_only: bool = True) -> Page[LotAnswer]:
    """The account's lots, newest first; spent and expired ones only with `open_only=false`.

    Empty for an unknown account [A13].
    """
    keys = (credit_lots.c.granted_seq,)
    async with call.transaction() as connection:
        now = await clock.now(connection, call.account_id)
        query = store.lots(call.account_id, now, open_only=open_only)
        return await paginate(connection, query, keys, paging, LotAnswer.of)

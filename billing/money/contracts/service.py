"""Contracts with accounts: agreed and ended. A running subscription follows with its next period
(billing/money/subscriptions/terms/agreements.py).
"""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import rules, writer
from billing.catalog.plans import service as plan_service
from billing.catalog.plans.schemas import AgreedPrice, Limit, Plan
from billing.core import clock
from billing.core.errors import NotFound, wrong_field
from billing.core.frozen import Frozen
from billing.ledger.credits import service as credits
from billing.matters.schemas import Matter
from billing.metering.limit_overrides import service as limit_overrides
from billing.money.contracts import store
from billing.money.contracts.schemas import (
    CommitmentTerms,
    Contract,
    ContractPrice,
    ContractTerms,
    lost_in,
)
from billing.platform.audit import service as audit


class NewContract(Frozen):
    """A requested contract."""

    reference: str | None = None
    prices: tuple[AgreedPrice, ...] = ()
    limits: tuple[Limit, ...] = ()
    collection: str | None = None
    net_days: int | None = None
    commitment: CommitmentTerms | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None


async def put(
    connection: AsyncConnection, account_id: UUID, wanted: NewContract
) -> tuple[Contract, Matter | None]:
    """Agree a contract from now or a later instant on; it replaces what was agreed.

    The same contract again changes nothing. The caller notifies the matter, if a limit begins or
    ends later. Errors: PLAN_NOT_FOUND, METER_NOT_FOUND; VALIDATION_FAILED for past times, for
    two prices of one plan, interval and currency, for an interval that does not fit the plan's
    allowance cycles, for a price too large for the plan's seats, for prices, a commitment or
    overage in another currency than the account's, and for prices or overage in another one than
    the commitment; CONTRACT_SOLD.
    """
    pays_in = (await credits.lock(connection, account_id)).currency
    at = await clock.now(connection, account_id)
    start = wanted.effective_from or at
    prices, plans = await _by_key(connection, wanted.prices)
    wanted = wanted.model_copy(update={"prices": prices})
    known = await store.ahead(connection, account_id, start)
    if known and _is_unchanged(known[0], wanted, start):
        return known[0], None
    if start < at:
        raise wrong_field("effective_from", "is in the past: leave it out to start now")
    if wanted.effective_to is not None and wanted.effective_to <= start:
        raise wrong_field("effective_to", "must be after the start")
    _demand_counted(pays_in, wanted)
    terms = ContractTerms.model_validate(
        wanted.model_dump(include={"limits", "collection", "net_days", "commitment"})
        | {"prices": await _write_prices(connection, prices, plans, at)}
    )
    matter = await _write_limits(connection, account_id, known, terms.limits, start, wanted, at)
    made = await store.begin(
        connection, account_id, terms, wanted.reference, start, wanted.effective_to, at
    )
    await audit.record(
        connection, account_id=account_id, action="contract.agreed", subject="contract", at=at,
        terms=terms.model_dump(mode="json"), effective_from=start.isoformat(),
    )  # fmt: skip
    return made, matter


def _demand_counted(pays_in: str | None, wanted: NewContract) -> None:
    """Refuse a contract of which something would never count for an account that `pays_in` this
    currency; None: it has none yet, and will have that of the commitment, or else of a price.
    """
    priced_in, committed = [one.currency for one in wanted.prices], wanted.commitment
    if pays_in is not None:
        currencies, why = [pays_in], "the account pays in"
    elif committed is not None:
        currencies, why = [committed.currency], "the commitment is in"
    else:
        currencies, why = priced_in, "a price is in"
    for currency in currencies:
        lost = lost_in(currency, priced_in, committed, wanted.limits)
        if lost is not None:
            raise wrong_field(lost, f"{why} {currency}")


async def get(connection: AsyncConnection, account_id: UUID) -> Contract:
    """Return the contract in force, else the next one. Errors: CONTRACT_NOT_FOUND."""
    at = await clock.now(connection, account_id)
    return _first(await store.ahead(connection, account_id, at))


async def end(connection: AsyncConnection, account_id: UUID) -> tuple[Contract, Matter | None]:
    """End the contract and upcoming ones now; sold prices stay, and limits in force stay until the
    period ends.

    Returns the ended contract, and the matter to notify. Errors: CONTRACT_NOT_FOUND, CONTRACT_SOLD.
    """
    at = await credits.now_locked(connection, account_id)
    known = await store.ahead(connection, account_id, at)
    ended = _first(known)
    await store.stop(connection, account_id, at, now=at)
    counts_from = await store.next_period(connection, account_id, at)
    matter = await _end_limits(
        connection, account_id, _limited(known), counts_from, None, (at, None), at
    )
    await audit.record(
        connection, account_id=account_id, action="contract.ended", subject="contract", at=at
    )
    return ended.model_copy(update={"effective_to": max(at, ended.effective_from)}), matter


async def _by_key(
    connection: AsyncConnection, wanted: Sequence[AgreedPrice]
) -> tuple[tuple[AgreedPrice, ...], Mapping[str, Plan]]:
    """Return the prices with the keys of their plans, which callers may also name by id, and the
    plans by key.

    Two of one plan, interval and currency are VALIDATION_FAILED.
    """
    plans = {
        name: await plan_service.plan_named(connection, name)
        for name in dict.fromkeys(one.plan for one in wanted)
    }
    found = [one.model_copy(update={"plan": plans[one.plan].key}) for one in wanted]
    if len({(one.plan, one.interval, one.currency) for one in found}) < len(found):
        raise wrong_field("prices", "a plan can have only one per interval and currency")
    return tuple(found), {plan.key: plan for plan in plans.values()}


async def _write_prices(
    connection: AsyncConnection,
    wanted: Sequence[AgreedPrice],
    plans: Mapping[str, Plan],
    at: datetime,
) -> list[ContractPrice]:
    """Write each price as a version that is not on sale, so that subscriptions can refer to it."""
    made = []
    for one in wanted:
        plan = plans[one.plan]
        if not plan.allowance.fits_into(one.interval):
            raise wrong_field(
                "prices", f"the interval does not fit the allowance cycles of plan {plan.key}"
            )
        if rules.is_too_dear(one.amount_minor, rules.most_seats(plan.seats)):
            raise wrong_field("prices", f"too large for as many seats as plan {plan.key} may have")
        row_id = await writer.add_agreed_price(connection, plan.key, one, at)
        made.append(ContractPrice(price_id=row_id, **one.model_dump()))
    return made


async def _write_limits(
    connection: AsyncConnection,
    account_id: UUID,
    before: Sequence[Contract],
    agreed: Sequence[Limit],
    start: datetime,
    wanted: NewContract,
    at: datetime,
) -> Matter | None:
    """Begin and end the contract's limits with a period; limits of those it replaces end then."""
    begins = await store.next_period(connection, account_id, start)
    ends = until = wanted.effective_to
    if until is not None:
        ends = await store.next_period(connection, account_id, until)
    replaced = [one for one in before if until is None or one.effective_from < until]
    # A contract that no period begins under has no limits.
    lasting = agreed if ends is None or ends > begins else ()
    gone = _limited(replaced) - {one.meter for one in lasting}
    instants = start, until
    matter = await _end_limits(connection, account_id, gone, begins, ends, instants, at)
    for one in lasting:
        _, woken = await limit_overrides.put(
            connection, account_id, one, begins, ends, at=at, agreed=instants
        )
        matter = woken or matter
    return matter


async def _end_limits(
    connection: AsyncConnection,
    account_id: UUID,
    meters: Set[str],
    begins: datetime,
    until: datetime | None,
    agreed: tuple[datetime, datetime | None],
    at: datetime,
) -> Matter | None:
    """End agreed limits at an instant, with the period that begins then; those to come before
    `until` (None: all) wait for it.
    """
    if not meters:
        return None
    return await limit_overrides.end_from(
        connection, account_id, sorted(meters), begins, until, agreed, at
    )


def _limited(agreed: Sequence[Contract]) -> Set[str]:
    """Return the meters that contracts limit."""
    return {limit.meter for one in agreed for limit in one.terms.limits}


def _is_unchanged(known: Contract, wanted: NewContract, start: datetime) -> bool:
    """True if the same contract is agreed already, from `start` on or, if that is now, before."""
    terms, begins = known.terms, known.effective_from
    known_prices = [one.model_dump(exclude={"price_id"}) for one in terms.prices]
    prices = tuple(map(AgreedPrice.model_validate, known_prices))
    return (
        prices == wanted.prices
        and (terms.limits, terms.collection, terms.net_days, terms.commitment)
        == (wanted.limits, wanted.collection, wanted.net_days, wanted.commitment)
        and (known.reference, known.effective_to) == (wanted.reference, wanted.effective_to)
        and (begins == start or (wanted.effective_from is None and begins < start))
    )


def _first(known: Sequence[Contract]) -> Contract:
    if not known:
        raise NotFound("CONTRACT_NOT_FOUND")
    return known[0]

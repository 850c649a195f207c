"""Refused uses: the code of each, and an error with the figures behind it."""

from datetime import datetime
from decimal import Decimal
from math import ceil
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.calls import AccountCall
from billing.catalog.rating.rules import TOO_DEAR
from billing.catalog.rating.schemas import BY_CARD, BY_PAID_CREDITS
from billing.core import clock, ids
from billing.core.error_codes import CODES
from billing.core.errors import (
    BillingError,
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    PaymentRequired,
)
from billing.core.money import ZERO, show_decimal
from billing.core.periods import show_instant
from billing.metering.budgets import service as budgets
from billing.metering.budgets.rules import broken
from billing.metering.quotas import service as quotas
from billing.metering.quotas.schemas import Asked, Decision
from billing.metering.usage import service, store
from billing.metering.usage.rules import NOTHING, rise, without_cost
from billing.metering.usage.schemas import Recorded, Use, UseKind
from billing.money.card_usage.obstacles import not_offered
from billing.money.subscriptions import exposure

CODES_OF_USES = (
    "PRODUCT_PRICING_NOT_FOUND", "METER_NOT_FOUND", "INSUFFICIENT_CREDITS", "QUOTA_EXCEEDED",
    "BUDGET_EXCEEDED", "NO_ENTITLEMENT", "UNPAID_LIMIT", "NOT_INCLUDED",
    "PAYMENT_CHARGE_NOT_OFFERED", "EVENT_TOO_OLD", "EVENT_IN_FUTURE", "USAGE_TOO_LARGE",
    "CARD_DECLINED", "HOLD_NOT_FOUND", "HOLD_RESOLVED", "HOLD_EXCEEDED", "HOLD_SCOPE",
)  # fmt: skip
REUSED = "this event_id (or Idempotency-Key) was recorded with a different body"


def code_and_detail(done: Recorded, use: Use) -> tuple[str, str]:
    """Return the code and sentence of a use that was not recorded."""
    required, available = _figures(done)
    said = {
        "INSUFFICIENT_CREDITS": f"{required} credits are needed, {available} are available",
        "HOLD_EXCEEDED": f"the use costs {required} credits, more than the {available} held",
        "HOLD_RESOLVED": f"the hold is already {done.status}",
        "VALIDATION_FAILED": NOTHING,
        "UNPAID_LIMIT": "this use would exceed the plan's unpaid limit",
    }
    if done.method == BY_PAID_CREDITS:
        said["INSUFFICIENT_CREDITS"] = service.NO_BALANCE
    operation = _operation_alone(use.kind)
    if done.verdict == "METER_NOT_FOUND" and operation is not None:
        return done.verdict, without_cost(operation)
    if done.verdict == "conflict":
        return "IDEMPOTENCY_KEY_REUSED", REUSED
    return done.verdict, said.get(done.verdict) or CODES[done.verdict].detail


def _operation_alone(kind: UseKind) -> str | None:
    """Return the operation if a use names nothing else that could price or count it."""
    others = (kind.product_id, kind.service_type, kind.feature_type)
    return kind.operation if others == (None, None, None) else None


def _figures(done: Recorded) -> tuple[str, str]:
    """Return the price of the use, and the credits that were available for it."""
    return show_decimal(done.required or ZERO), show_decimal(done.available or ZERO)


async def refusal(done: Recorded, use: Use, call: AccountCall) -> BillingError:
    """Return the error for a use that was not recorded, with the figures behind it."""
    code, detail = code_and_detail(done, use)
    required, available = _figures(done)
    if code == "INSUFFICIENT_CREDITS":
        return PaymentRequired(code, detail, required=required, available=available)
    if code in _LOOKED_UP:
        return await _LOOKED_UP[code](done, use, call)
    if code == "HOLD_RESOLVED":
        return Conflict(code, detail, hold_status=done.status)
    if code == "HOLD_EXCEEDED":
        return Invalid(code, detail, required=required, held=available)
    if code == "PAYMENT_CHARGE_NOT_OFFERED":
        return not_offered("no_price")
    if code in ("HOLD_SCOPE", "NOT_INCLUDED"):
        return Conflict(code, detail)
    if code in ("PRODUCT_PRICING_NOT_FOUND", "METER_NOT_FOUND", "HOLD_NOT_FOUND"):
        return NotFound(code, detail)
    return Invalid(code, detail)


async def _not_entitled(done: Recorded, use: Use, call: AccountCall) -> BillingError:
    code, detail = code_and_detail(done, use)
    async with call.transaction() as connection:
        now = await clock.now(connection, call.account.id)
        period = await store.open_period(connection, call.account.id, now)
    reason = period.no_entitlement if period else None
    return NotAllowed(code, detail, access="none", reason=reason, meter=done.meter)


async def _too_large(_: Recorded, use: Use, call: AccountCall) -> BillingError:
    try:
        async with call.transaction() as connection:
            await _meter_of(connection, use)
    except Invalid as error:
        return error
    return Invalid("USAGE_TOO_LARGE", TOO_DEAR)


async def _meter_of(connection: AsyncConnection, use: Use) -> tuple[str, str]:
    kind, amount = use.kind, Decimal(use.amount)
    return await store.meter_of(
        connection, kind.product_id, kind.service_type, kind.feature_type, amount, kind.operation
    )


async def _unpaid(done: Recorded, use: Use, call: AccountCall) -> BillingError:
    by_card = done.method == BY_CARD
    async with call.transaction() as connection:
        known = await exposure.of_account(connection, call.account.id, use.at, by_card=by_card)
    limit, unpaid = show_decimal(known.unpaid_limit), show_decimal(known.unpaid)
    return PaymentRequired(
        "UNPAID_LIMIT",
        f"the unpaid limit is {limit} {known.currency}; {unpaid} {known.currency} is already"
        " unpaid",
        unpaid=unpaid,
        limit=limit,
        currency=known.currency,
    )


async def _over_quota(_: Recorded, use: Use, call: AccountCall) -> BillingError:
    asked = Asked(
        amount=Decimal(use.amount),
        user_id=use.user_id,
        organization_id=use.organization_id,
        product_id=use.kind.product_id,
        service_type=use.kind.service_type,
        feature_type=use.kind.feature_type,
        operation=use.kind.operation,
        billing_method=use.kind.method,
    )
    async with call.transaction() as connection:
        decision = await quotas.check(connection, call.account.id, asked, use.at)
        now = await clock.now(connection, call.account.id)
    debt: dict[str, Any] = {}
    if decision.access:
        debt = {"access": decision.access, "reason": "past_due"}
    return Conflict(
        "QUOTA_EXCEEDED",
        decision.reason if debt else None,
        **_retry_after(decision, now),
        **debt,
        limit=show_decimal(decision.limit) if decision.limit is not None else None,
        used=show_decimal(decision.used),
        requested=show_decimal(decision.requested),
        resets_at=show_instant(decision.resets_at) if decision.resets_at else None,
        refused_by=decision.refused_by,
    )


async def _rise(
    connection: AsyncConnection, account_id: UUID, use: Use, at: datetime
) -> tuple[Decimal, Decimal]:
    """Return what a use adds to its meter now, and in an unused window."""
    meter, counts = await _meter_of(connection, use)
    period = await store.current_period(connection, account_id, at)
    counters = await store.cycle_counters(connection, account_id, period.start_at)
    now, anew = [rise(Decimal(use.amount), counts, one) for one in (counters.get(meter), None)]
    return now, anew


async def _over_budget(done: Recorded, use: Use, call: AccountCall) -> BillingError:
    async with call.transaction() as connection:
        found, now = await budgets.standing(connection, call.account.id)
        units = await _rise(connection, call.account.id, use, now)
    at_once = done.method == BY_CARD  # on no future invoice, so no budget bounds it
    total = ZERO if at_once else done.total
    refused = broken(found, done.meter or "", units, total, done.currency)
    code, detail = code_and_detail(done, use)
    if refused is None:  # raised or removed meanwhile
        return Conflict(code, detail, retry_after=1)
    budget = refused.budget
    return Conflict(
        code,
        detail,
        **_wait(refused.passes_at, now),
        budget_id=ids.encode(ids.BUDGET, budget.id),
        limit=show_decimal(budget.limit_amount),
        used=show_decimal(budget.used),
        resets_at=show_instant(budget.window_end),
    )


_LOOKED_UP: Final = {
    "QUOTA_EXCEEDED": _over_quota,
    "BUDGET_EXCEEDED": _over_budget,
    "NO_ENTITLEMENT": _not_entitled,
    "UNPAID_LIMIT": _unpaid,
    "USAGE_TOO_LARGE": _too_large,
}
"""Refusals whose figures are read for the answer."""


def _retry_after(decision: Decision, now: datetime) -> dict[str, int]:
    """Return the seconds until the same request would pass; nothing if it never will."""
    if decision.allowed:  # something was returned meanwhile
        return {"retry_after": 1}
    return _wait(decision.passes_at, now)


def _wait(passes_at: datetime | None, now: datetime) -> dict[str, int]:
    """Return the seconds until an instant; nothing if it never comes."""
    if passes_at is None:
        return {}
    return {"retry_after": max(1, ceil((passes_at - now).total_seconds()))}

"""Budgets on usage and cost: set by an account for itself, to be warned or to block uses [Q7]."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BeforeValidator, Field, model_validator

from api.answers.pagination import Page, whole
from api.answers.problems import responses
from api.answers.public_ids import encoded, row_id
from api.answers.schemas import Answer, Body, Credits, Text, Total
from api.dependencies import BillingCall, MemberCall, MemberRead
from api.routes.base import new_router
from billing.core import clock, ids
from billing.metering.budgets import rules, service
from billing.metering.budgets.schemas import Measure, NewBudget, Then, Window
from billing.metering.usage import store as usage_store

router = new_router("budgets")

Percent = Annotated[int, Field(ge=1, le=1000, strict=True)]


class BudgetBody(Body):
    """A bound on usage or cost in a window, and what happens at it.

    `credits` bounds the cost of uses in credits; `money` the overage on the next invoice, in whole
    units of the account's currency; `meter` the units of the meter that `feature_type` names.
    `block` refuses a use that would exceed it; `notify` only publishes events.
    """

    measure: Measure = "credits"
    feature_type: Text | None = Field(
        None, description="The feature whose meter it bounds; with `measure: meter` only"
    )
    window: Window | None = Field(
        None,
        description="The calendar month in the account's zone, or the cycle of the plan; `month` by"
        " default, `cycle` for a level",
    )
    limit: Credits = Field(ge=0, description="The bound, in what `measure` counts")
    alert_percents: Annotated[tuple[Percent, ...], Field(max_length=10)] = rules.ALERT_PERCENTS
    then: Then = Field(
        "notify",
        description="`notify`: events only; `block`: a use that would exceed it is refused",
    )

    @model_validator(mode="after")
    def _a_meter_is_named(self) -> Self:
        if (self.measure == "meter") != (self.feature_type is not None):
            raise ValueError(
                "feature_type is required with the measure meter and not allowed otherwise"
            )
        return self


def _then(is_blocking: bool) -> Then:
    return "block" if is_blocking else "notify"


class BudgetAnswer(Answer):
    """A budget with the use of its current window."""

    budget_id: Annotated[str, encoded(ids.BUDGET)] = Field(validation_alias="id")
    measure: Measure
    meter: Annotated[str | None, BeforeValidator(lambda meter: meter or None)] = Field(
        description="The key of the meter that it bounds; null: it measures none"
    )
    window: Window = Field(
        validation_alias="window_kind",
        description="The calendar `month` in the account's zone, or the `cycle` of the plan",
    )
    limit: Credits = Field(
        validation_alias="limit_amount", description="The bound, in what `measure` counts"
    )
    used: Total = Field(description="What counts against it in the window")
    remaining: Credits = Field(description="What is left of it")
    alert_percents: tuple[int, ...]
    then: Annotated[Then, BeforeValidator(_then)] = Field(
        validation_alias="is_blocking",
        description="`notify`: events only; `block`: a use that would exceed it is refused",
    )
    window_start: datetime
    window_end: datetime
    created_at: datetime
    updated_at: datetime


class BudgetsAnswer(Page[BudgetAnswer]):
    """Every budget of the account, newest first."""

    as_of: datetime


@router.get("/usage/budgets", responses=responses())
async def list_budgets(call: MemberRead) -> BudgetsAnswer:
    """The account's budgets (at most twenty), each with the use of its current window.

    An unknown account has none [A13].
    """
    if call.account is None:
        return BudgetsAnswer(data=[], pagination=whole(0), as_of=clock.real_now())
    async with call.transaction() as connection:
        found, at = await service.standing(connection, call.account.id)
    shown = [BudgetAnswer.of(budget) for budget in found]
    return BudgetsAnswer(data=shown, pagination=whole(len(shown)), as_of=at)


@router.put("/usage/budgets", responses=responses("METER_NOT_FOUND", "BUDGET_LIMIT"))
async def put_budget(body: BudgetBody, call: BillingCall) -> BudgetAnswer:
    """Set a budget; an account has one per measure, meter, window and `then`, which this updates.

    It starts with the use of its current window. Each threshold is announced once per window by
    `evt.billing.usage.budget_reached`; thresholds already reached are announced at once.

    The default window is the month. A budget of a level, such as storage, has the window cycle.
    """
    async with call.transaction() as connection:
        meter, counts = "", ""
        if body.feature_type is not None:
            meter, counts = await usage_store.meter_of(connection, None, None, body.feature_type)
        window = rules.window_for(meter, counts, body.window)
        wanted = NewBudget(
            measure=body.measure, meter=meter, window=window, limit=body.limit,
            alert_percents=tuple(sorted(set(body.alert_percents))), then=body.then,
        )  # fmt: skip
        return BudgetAnswer.of(await service.put(connection, call.account.id, wanted))


@router.get("/usage/budgets/{budget_id}", responses=responses("BUDGET_NOT_FOUND"))
async def read_budget(budget_id: str, call: MemberCall) -> BudgetAnswer:
    """One budget with the use of its current window."""
    async with call.transaction() as connection:
        found, _ = await service.get(connection, call.account.id, _known(budget_id))
    return BudgetAnswer.of(found)


@router.delete("/usage/budgets/{budget_id}", responses=responses("BUDGET_NOT_FOUND"))
async def delete_budget(budget_id: str, call: BillingCall) -> BudgetAnswer:
    """Delete a budget; returns its last state."""
    async with call.transaction() as connection:
        return BudgetAnswer.of(await service.remove(connection, call.account.id, _known(budget_id)))


def _known(budget_id: str) -> UUID:
    return row_id(ids.BUDGET, budget_id)

"""Comparisons of our rows with Stripe's objects, for operators: run one, and read the runs [P1]."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import Response
from pydantic import AfterValidator, Field, StrictBool, model_validator

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId, PaymentId, ReconciliationId, row_id
from api.answers.schemas import Answer, Body, Instant, optional_body
from api.dependencies import AdminCall
from api.idempotency import OptionalKey
from api.routes.base import new_router
from api.workflow_calls import need_temporal, wait_for_comparison
from billing.core import ids
from billing.core.errors import Invalid
from billing.core.keys import MAX_KEY_CHARS
from billing.money.reconciliations import rules, service, store
from billing.money.reconciliations.schemas import (
    Checked,
    Discrepancy,
    DiscrepancyKind,
    MoneyState,
    ObjectKind,
    Reconciliation,
    RunStatus,
    Side,
)
from billing.money.reconciliations.tables import reconciliations

router = new_router("reconciliation")
_CODES: Final = (
    "ACKNOWLEDGEMENT_REQUIRED", "IDEMPOTENCY_KEY_REQUIRED", "TEMPORAL_UNAVAILABLE", *KEYED,
)  # fmt: skip


def _not_too_early(value: datetime) -> datetime:
    if value < rules.FIRST:
        raise ValueError(f"must not be before {rules.FIRST.date()}")
    return value


Bound = Annotated[Instant, AfterValidator(_not_too_early)]
"""The begin or the end of a window."""


class ReconcileBody(Body):
    """`acknowledge` must be true. The window is that of the objects' creation, by default the last
    14 days, for disputes 120; `heal` has the payments checked that a check puts right.
    """

    acknowledge: StrictBool = Field(
        False, description="Must be true: the run reads all payments of its time"
    )
    idempotency_key: Annotated[str | None, Field(max_length=MAX_KEY_CHARS)] = Field(
        None, description="The key, if it is not sent as `Idempotency-Key`"
    )
    since_at: Bound | None = Field(
        None,
        description="Compare what was created from then on; by default 14 days before the end,"
        " without both bounds 120 days for disputes",
    )
    until_at: Bound | None = Field(
        None,
        description="Compare what was created before then; by default, and at most, half an hour"
        " ago",
    )
    heal: StrictBool = Field(
        False, description="True has each payment checked whose difference a check settles"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since_at and self.until_at and self.since_at >= self.until_at:
            raise ValueError("since_at must be before until_at")
        return self


class SideAnswer(Answer):
    """One side's values of an object."""

    amount_cents: int = Field(validation_alias="amount_minor")
    currency: str
    status: MoneyState = Field(
        validation_alias="state",
        description="The state of its money: `unpaid` or `paid`, of a refund `under_way`,"
        " `succeeded` or `failed`, of a dispute `open`, `won`, `lost` or `closed`",
    )


class DiscrepancyAnswer(Answer):
    """A difference between `at_billing`, null if no row knows the object, and `at_stripe`, null if
    Stripe has none.

    `fix` is `check_payment` where a check of the payment puts it right; `is_check_ordered` tells
    that the run has ordered it. Every other difference is for a person to decide.
    """

    kind: DiscrepancyKind = Field(
        description="`missing_here`: no row knows the object; `missing_at_stripe`: Stripe has none;"
        " or what differs",
    )
    object: ObjectKind = Field(description="What the object is")
    stripe_id: str
    account_id: AccountId
    payment_id: PaymentId | None
    at_billing: SideAnswer | None = Field(
        validation_alias="here", description="What is known here; null: no row knows the object"
    )
    at_stripe: SideAnswer | None = Field(
        description="What Stripe says; null: it has no such object"
    )
    created_at: datetime = Field(description="When the object was made")
    fix: Literal["check_payment"] | None = Field(
        description="`check_payment` if a check of the payment settles it; null: a person decides"
    )
    is_check_ordered: bool = Field(description="True if the run has ordered that check")

    @classmethod
    def of_found(cls, found: Discrepancy) -> Self:
        """The discrepancy with its fix."""
        fix = "check_payment" if rules.heals(found) else None
        return cls.of(found, here=_side(found.here), at_stripe=_side(found.at_stripe), fix=fix)


class RunAnswer(Answer):
    """A run. `error` says why a running one waits or a failed one ended; `is_complete` is false if
    it ended before the end, at a thousand discrepancies. `tolerance` is a percentage.
    """

    run_id: ReconciliationId = Field(validation_alias="id")
    status: RunStatus = Field(description="`running`, `finished`, or `failed`")
    since_at: datetime = Field(description="It compares what was created from then on")
    until_at: datetime = Field(description="It compares what was created before then")
    heal: bool = Field(description="True: payments are checked whose difference a check settles")
    checked: Checked = Field(description="How many objects it has compared")
    discrepancy_count: int
    tolerance: str = Field(
        examples=[rules.TOLERANCE], description="The difference that is allowed, in percent"
    )
    is_complete: bool = Field(
        description="False: it is still running, or ended early at too many differences"
    )
    error: str | None = Field(description="Why it waits or failed; null: it does not")
    started_at: datetime = Field(description="When it began")
    finished_at: datetime | None

    @classmethod
    def of_run(cls, run: Reconciliation, count: int, **more: Any) -> Self:
        """The run as operators see it, with the count of what it found."""
        return cls.of(
            run,
            status=run.status,
            discrepancy_count=count,
            tolerance=rules.TOLERANCE,
            is_complete=run.place is None,
            **more,
        )


class RunDetail(RunAnswer):
    """A run with its discrepancies."""

    discrepancies: list[DiscrepancyAnswer] = Field(description="What it found")

    @classmethod
    def of_whole(cls, run: Reconciliation) -> Self:
        """The run with all that it found."""
        found = [DiscrepancyAnswer.of_found(one) for one in run.discrepancies]
        return cls.of_run(run, len(found), discrepancies=found)


@router.post(
    "/billing/reconcile",
    response_model=RunDetail,
    responses={
        202: {"model": RunDetail, "description": "The run goes on"},
        **responses(*_CODES),
    },
)
async def reconcile_billing(
    body: Annotated[ReconcileBody, optional_body(ReconcileBody)],
    call: AdminCall,
    once: OptionalKey,
) -> Response:
    """Compare our payments, refunds and disputes with Stripe's, once per key; 202 while it runs."""
    if not body.acknowledge:
        raise Invalid("ACKNOWLEDGEMENT_REQUIRED")
    once = once.named(body.idempotency_key)
    once.require()
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        window = body.model_dump(include={"since_at", "until_at", "heal"})
        run = service.new_run(claim.resource_id, **window)
        async with call.database.operator() as connection:
            await service.begin(connection, run)
        await wait_for_comparison(call, run)
        async with call.database.operator() as connection:
            run = await store.get(connection, run.id)
        return claim.answer(200 if run.finished_at else 202, RunDetail.of_whole(run))


@router.get("/admin/reconciliations", responses=responses("INVALID_CURSOR"))
async def list_reconciliations(call: AdminCall, paging: Paging) -> Page[RunAnswer]:
    """All runs, newest first, without their discrepancies."""
    keys = (reconciliations.c.started_at, reconciliations.c.id)
    async with call.database.operator() as connection:
        return await paginate(connection, store.listing(), keys, paging, _shown)


@router.get(
    "/admin/reconciliations/{reconciliation_id}", responses=responses("RECONCILIATION_NOT_FOUND")
)
async def read_reconciliation(reconciliation_id: str, call: AdminCall) -> RunDetail:
    """One run with its discrepancies."""
    async with call.database.operator() as connection:
        run = await store.get(connection, row_id(ids.RECONCILIATION, reconciliation_id))
    return RunDetail.of_whole(run)


def _shown(row: Any) -> RunAnswer:
    fields = dict(row)
    count = fields.pop("discrepancy_count")
    return RunAnswer.of_run(Reconciliation.model_validate(fields), count)


def _side(side: Side | None) -> SideAnswer | None:
    return SideAnswer.of(side) if side else None

"""The proof of fulfilment of a purchase: request, workflow, payments, webhooks, the one grant."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import Field

from api.answers.problems import responses
from api.answers.public_ids import InvoiceId, LotId, PaymentId, PurchaseId, TransactionId, row_id
from api.answers.schemas import Answer, Credits
from api.calls import AccountCall, Call
from api.dependencies import MemberCall
from api.pay.payer_secrets import may_pay
from api.routes.base import new_router
from billing.core import ids
from billing.insight.proofs import rules, store
from billing.insight.proofs.schemas import (
    AttemptFact,
    Check,
    Facts,
    MatterFact,
    RequestFact,
    StepFact,
    Verdict,
    WebhookFact,
)
from billing.insight.timeline import descriptions
from workflows import visibility
from workflows.visibility import Run

router = new_router("purchases")


class RunsPart(Answer):
    """Temporal's view of the workflow; the proof does not depend on it."""

    available: bool
    runs: list[Run]


class WorkflowPart(Answer):
    """The purchase's workflow: its row, its steps, and its runs in Temporal."""

    matter: MatterFact | None
    steps: list[StepFact]
    temporal: RunsPart


class PaymentPart(Answer):
    """One payment with every attempt."""

    payment_id: PaymentId
    flow: str
    status: str
    provider_intent: str | None
    provider_session: str | None = Field(
        description="The payment page in the browser; null for a caller who may not pay"
    )
    provider_charge: str | None
    amount_cents: int = Field(validation_alias="amount_minor")
    received_cents: int = Field(validation_alias="received_minor")
    currency: str
    created_at: datetime
    paid_at: datetime | None
    booked_at: datetime | None
    attempts: list[AttemptFact]


class InvoicePart(Answer):
    """An invoice of the purchase."""

    invoice_id: InvoiceId
    number: str | None
    status: str
    total_cents: int = Field(validation_alias="total_minor")
    amount_paid_cents: int = Field(validation_alias="amount_paid_minor")
    currency: str
    paid_at: datetime | None


class GrantPart(Answer):
    """The granted credits, and their entry in the ledger."""

    lot_id: LotId
    transaction_id: TransactionId | None
    key: str
    credits: Credits
    granted_at: datetime
    real_granted_at: datetime | None


class ProofAnswer(Answer):
    """Everything that shows how this purchase was fulfilled, and the results of the checks."""

    purchase_id: PurchaseId
    status: str
    pack: str
    credits: Credits
    amount_cents: int = Field(validation_alias="amount_minor")
    currency: str
    completed_at: datetime | None
    consistent: bool
    verdict: str
    checks: list[Check]
    request: RequestFact
    workflow: WorkflowPart
    payments: list[PaymentPart]
    webhooks: list[WebhookFact]
    invoices: list[InvoicePart]
    grants: list[GrantPart]
    asked_at: datetime | None = Field(
        description="When the provider last reported the payments' status, in real time"
    )
    kept_cents: int = Field(validation_alias="kept_minor")
    published: int

    @classmethod
    def of_facts(cls, facts: Facts, verdict: Verdict, runs: list[Run] | None) -> Self:
        """The facts as callers see them."""
        temporal = RunsPart(available=runs is not None, runs=runs or [])
        return cls.of(
            facts,
            consistent=verdict.consistent,
            verdict=verdict.sentence,
            checks=verdict.checks,
            workflow=WorkflowPart(matter=facts.matter, steps=list(facts.steps), temporal=temporal),
        )


@router.get(
    "/billing/purchases/{purchase_id}/proof",
    responses=responses("PURCHASE_NOT_FOUND"),
)
async def prove_purchase(purchase_id: str, call: MemberCall) -> ProofAnswer:
    """The proof that this purchase was paid once and granted once; it works without Temporal.

    Only payers see the id of a payment page, because it opens the page, and who requested it by
    name and key.
    """
    purchase = row_id(ids.PURCHASE, purchase_id)
    facts = await _facts(call, purchase)
    client = call.services.temporal_client
    runs = None
    if client is not None and facts.matter is not None:
        runs = await visibility.runs(client, facts.matter.workflow_id)
    running = any(run.status == "running" for run in runs) if runs is not None else None
    if running is False:
        facts = await _facts(call, purchase)  # it may have ended since its rows were read
    return _for_caller(call, ProofAnswer.of_facts(facts, rules.judge(facts, running=running), runs))


def _for_caller(call: Call, answer: ProofAnswer) -> ProofAnswer:
    if may_pay(call):
        return answer
    hidden = [one.model_copy(update={"provider_session": None}) for one in answer.payments]
    actor = answer.request.actor
    asked = {"actor": actor and descriptions.role_of(actor), "idempotency_key_hash": None}
    request = answer.request.model_copy(update=asked)
    return answer.model_copy(update={"payments": hidden, "request": request})


async def _facts(call: AccountCall, purchase: UUID) -> Facts:
    async with call.transaction() as connection:
        return await store.facts(connection, purchase)

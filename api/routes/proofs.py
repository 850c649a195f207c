"""The proof of fulfilment of a purchase: request, workflow, payments, webhooks, the one grant."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import Field

from api.answers import statuses
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
    MatterFact,
    ProofFacts,
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

    available: bool = Field(description="False: Temporal did not answer")
    runs: list[Run] = Field(description="The runs of the workflow")


class WorkflowPart(Answer):
    """The purchase's workflow: its row, its steps, and its runs in Temporal."""

    matter: MatterFact | None = Field(
        description="The purchase in the register of matters; null: it is not there"
    )
    steps: list[StepFact] = Field(description="The steps that it has done")
    temporal: RunsPart = Field(description="The runs in Temporal")


class PaymentPart(Answer):
    """One payment with every attempt."""

    payment_id: PaymentId
    flow: str = Field(
        description="How it is paid: `card`, `saved_card`, `checkout`, `paypal` or `manual`"
    )
    status: str = Field(description=statuses.PAYMENT)
    provider_intent: str | None = Field(
        description="The PaymentIntent at Stripe, or the capture at PayPal; null: there is none"
    )
    provider_session: str | None = Field(
        description="The payment page in the browser; null for a caller who may not pay"
    )
    provider_charge: str | None = Field(
        description="The charge at the provider; null: there is none"
    )
    amount_cents: int = Field(
        validation_alias="amount_minor", description="What was asked for, in minor units"
    )
    received_cents: int = Field(validation_alias="received_minor")
    currency: str
    created_at: datetime
    paid_at: datetime | None
    booked_at: datetime | None = Field(description="When the money was booked; null: not yet")
    attempts: list[AttemptFact] = Field(description="The tries of cards")


class InvoicePart(Answer):
    """An invoice of the purchase."""

    invoice_id: InvoiceId
    number: str | None = Field(description="The number of the invoice; null: it has none")
    status: str = Field(description=statuses.INVOICE)
    total_cents: int = Field(validation_alias="total_minor")
    amount_paid_cents: int = Field(validation_alias="amount_paid_minor")
    currency: str
    paid_at: datetime | None


class GrantPart(Answer):
    """The granted credits, and their entry in the ledger."""

    lot_id: LotId
    transaction_id: TransactionId | None
    key: str = Field(description="The key under which they were granted, once")
    credits: Credits = Field(description="How many credits came")
    granted_at: datetime
    real_granted_at: datetime | None = Field(description="The same in real time; null: not known")


class ProofAnswer(Answer):
    """Everything that shows how this purchase was fulfilled, and the results of the checks."""

    purchase_id: PurchaseId
    status: str = Field(description=statuses.PURCHASE)
    pack: str
    credits: Credits = Field(description="The credits that it brings")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price of the pack before discounts and tax, in minor units",
    )
    currency: str
    completed_at: datetime | None
    consistent: bool = Field(description="True if all checks hold")
    verdict: str = Field(description="The outcome in a sentence")
    checks: list[Check] = Field(description="What must be so, and whether it is")
    request: RequestFact = Field(description="Who asked for it, and how")
    workflow: WorkflowPart = Field(description="What the workflow did")
    payments: list[PaymentPart] = Field(description="Its payments")
    webhooks: list[WebhookFact] = Field(description="What the provider told")
    invoices: list[InvoicePart] = Field(description="Its invoices")
    grants: list[GrantPart] = Field(description="The credits that came for it")
    asked_at: datetime | None = Field(
        description="When the provider last reported the payments' status, in real time"
    )
    kept_cents: int = Field(validation_alias="kept_minor")
    published: int = Field(description="How many events tell of it: one, once it is completed")

    @classmethod
    def of_facts(cls, facts: ProofFacts, verdict: Verdict, runs: list[Run] | None) -> Self:
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


async def _facts(call: AccountCall, purchase: UUID) -> ProofFacts:
    async with call.transaction() as connection:
        return await store.facts(connection, purchase)

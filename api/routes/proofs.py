"""The proof of fulfilment of a purchase: request, workflow, payments, webhooks, the one grant."""

from datetime import datetime
from typing import Self

from api.dependencies import MemberCall
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Credits
from billing.core import ids
from billing.proofs import rules, store
from billing.proofs.schemas import (
    AttemptFact,
    Check,
    Facts,
    GrantFact,
    InvoiceFact,
    MatterFact,
    PaymentFact,
    RequestFact,
    StepFact,
    Verdict,
    WebhookFact,
)
from workflows import look
from workflows.look import Run

router = new_router("purchases")


class RunsPart(Answer):
    """What Temporal says of the workflow; the proof itself never needs it."""

    available: bool
    runs: list[Run]


class WorkflowPart(Answer):
    """The purchase's workflow: in the register, by its steps, and as Temporal sees it."""

    matter: MatterFact | None
    steps: list[StepFact]
    temporal: RunsPart


class PaymentPart(Answer):
    """One road the money could come by, with every try."""

    payment_id: str
    road: str
    status: str
    provider_intent: str | None
    provider_session: str | None
    provider_charge: str | None
    amount_cents: int
    received_cents: int
    currency: str
    created_at: datetime
    paid_at: datetime | None
    booked_at: datetime | None
    attempts: list[AttemptFact]

    @classmethod
    def of(cls, payment: PaymentFact) -> Self:
        """As callers see it."""
        known = payment.model_dump(exclude={"payment_id", "amount_minor", "received_minor"})
        return cls(
            **known,
            payment_id=ids.encode(ids.PAYMENT, payment.payment_id),
            amount_cents=payment.amount_minor,
            received_cents=payment.received_minor,
        )


class InvoicePart(Answer):
    """An invoice of the purchase."""

    invoice_id: str
    number: str | None
    status: str
    total_cents: int
    amount_paid_cents: int
    currency: str
    paid_at: datetime | None

    @classmethod
    def of(cls, invoice: InvoiceFact) -> Self:
        """As callers see it."""
        return cls(
            **invoice.model_dump(include={"number", "status", "currency", "paid_at"}),
            invoice_id=ids.encode(ids.INVOICE, invoice.invoice_id),
            total_cents=invoice.total_minor,
            amount_paid_cents=invoice.amount_paid_minor,
        )


class GrantPart(Answer):
    """The credits that arrived, and their entry in the ledger."""

    lot_id: str
    transaction_id: str | None
    key: str
    credits: Credits
    granted_at: datetime
    real_granted_at: datetime | None

    @classmethod
    def of(cls, grant: GrantFact) -> Self:
        """As callers see it."""
        known = grant.model_dump(include={"key", "credits", "granted_at", "real_granted_at"})
        entry = grant.transaction_id
        return cls(
            **known,
            lot_id=ids.encode(ids.LOT, grant.lot_id),
            transaction_id=ids.encode(ids.TRANSACTION, entry) if entry else None,
        )


class ProofAnswer(Answer):
    """Everything that shows how this purchase was fulfilled, and what the checks say of it."""

    purchase_id: str
    status: str
    pack: str
    credits: Credits
    amount_cents: int
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
    kept_cents: int
    published: int

    @classmethod
    def of(cls, facts: Facts, verdict: Verdict, runs: list[Run] | None) -> Self:
        """The facts as callers see them."""
        temporal = RunsPart(available=runs is not None, runs=runs or [])
        return cls(
            **facts.model_dump(
                include={"status", "pack", "credits", "currency", "completed_at", "published"}
            ),
            purchase_id=ids.encode(ids.PURCHASE, facts.purchase_id),
            amount_cents=facts.amount_minor,
            consistent=verdict.consistent,
            verdict=verdict.sentence,
            checks=list(verdict.checks),
            request=facts.request,
            workflow=WorkflowPart(matter=facts.matter, steps=list(facts.steps), temporal=temporal),
            payments=[PaymentPart.of(one) for one in facts.payments],
            webhooks=list(facts.webhooks),
            invoices=[InvoicePart.of(one) for one in facts.invoices],
            grants=[GrantPart.of(one) for one in facts.grants],
            kept_cents=facts.kept_minor,
        )


@router.get(
    "/billing/purchases/{purchase_id}/proof",
    responses=responses("PURCHASE_NOT_FOUND", "MERCHANT_NOT_FOUND"),
)
async def prove_purchase(purchase_id: str, call: MemberCall) -> ProofAnswer:
    """What shows that this purchase was paid once and granted once; works without Temporal too."""
    async with call.transaction() as connection:
        facts = await store.facts(connection, ids.decode(ids.PURCHASE, purchase_id))
    client = call.services.temporal_client
    runs = None
    if client is not None and facts.matter is not None:
        runs = await look.runs(client, facts.matter.workflow_id)
    running = any(run.status == "running" for run in runs) if runs is not None else None
    return ProofAnswer.of(facts, rules.judge(facts, running=running), runs)

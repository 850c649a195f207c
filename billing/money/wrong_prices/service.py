"""Undoes a wrong price: the right one is on sale again, and overcharges are credited or refunded.

Subscribers of the wrong price move to the right one with their next period (`price_moves.py`).
"""

from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import service as plan_service
from billing.catalog.plans.spec import PriceSpec
from billing.core.errors import Conflict, wrong_field
from billing.matters.effects import Facts, Work
from billing.matters.schemas import Matter
from billing.money.invoice_requests import asking, locks, operating
from billing.money.invoice_requests.operating import CreditedLine
from billing.money.invoices import price_corrections
from billing.money.invoices import store as invoice_store
from billing.money.invoices.giving_back import crediting
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine
from billing.money.payments import store as payment_store
from billing.money.payments.schemas import Payment
from billing.money.refunds.remaining import reversals as taken_back
from billing.money.refunds.rules import whole_steps
from billing.money.refunds.schemas import Refund
from billing.money.reversals import service as reversals
from billing.money.reversals.service import Wanted
from billing.money.subscriptions import entitlements
from billing.money.wrong_prices import rules, store
from billing.money.wrong_prices.schemas import Given, GivenTo, Mistake, Named

_BROUGHT_LESS: Final = (
    "its payment brought less than that, as where the money balance paid a part: give it back to"
    " the balance (`to`: `balance`)"
)


async def read(connection: AsyncConnection, named: Named, reason: str, to: GivenTo) -> Mistake:
    """Return the two prices of a mistake. Errors: PRICE_NOT_FOUND; VALIDATION_FAILED if equal."""
    if named.wrong_version == named.right_version:
        raise wrong_field("right_version", "must differ from wrong_version")
    of = (named.plan, named.interval, named.currency)
    return Mistake(
        wrong=await store.version(connection, *of, named.wrong_version),
        right=await store.version(connection, *of, named.right_version),
        reason=reason,
        to=to,
    )


async def put_on_sale(connection: AsyncConnection, mistake: Mistake) -> bool:
    """Sell at the right price again, if the wrong one is still on sale; True if it was.

    A version that went off sale never comes back, so then nobody counts its plan's subscribers.
    """
    if not mistake.wrong.is_current:
        return False
    right = PriceSpec(
        amount_minor=mistake.right.amount_minor,
        minimum_minor=mistake.right.minimum_minor,
        stripe_price_id=mistake.right.stripe_price_id,
    )
    sold = await entitlements.sold(connection, mistake.wrong.key)
    return bool(await plan_service.replace_price(connection, mistake.wrong, right, sold))


async def give_back(connection: AsyncConnection, line: InvoiceLine, mistake: Mistake) -> Given:
    """Correct the overcharge of a line, once: refund its payer, or write a credit note, which takes
    it off what is owed first and puts the rest on the money balance.

    Errors: CREDITED_BEFORE, and those of `operating.credit` and `reversals.refund`.
    """
    invoice = await locks.take(connection, line.invoice_id)
    given = Given(invoice=invoice, charged_minor=line.total_minor)
    suffix = mistake.suffix(line.position)
    known = await store.refund_of(connection, mistake.refund_id(line.id))
    rest = await store.refund_of(connection, mistake.rest_id(line.id))
    before = await _given_before(connection, invoice, suffix, known, rest)
    if before is not None:
        return given.model_copy(update=before | {"is_repeated": True})
    fixed = await store.fixed_codes(connection, line.account_id)
    amount = rules.overcharged(line, mistake.right.amount_minor, fixed)
    if not amount:
        return given
    beside = await invoice_store.beside(connection, invoice)
    await asking.learn(connection, invoice, partial(_demand_whole, suffix=suffix), beside=beside)
    payment = await _paid_by(connection, invoice) if mistake.to == "payer" else None
    # A refund that the bank returned is not tried again.
    if payment is not None and known is None:
        matter = await _refund(connection, payment, line, mistake, amount)
        after = await invoice_store.get(connection, invoice.id)
        fields = {"given_minor": amount, "refund_id": mistake.refund_id(line.id), "matter": matter}
        return given.model_copy(update=fields | {"invoice": after})
    matter = await operating.credit(
        connection, invoice.id, amount_minor=None,
        lines=[CreditedLine(position=line.position, amount_minor=amount)],
        reason=mistake.reason, to="debt", suffix=suffix, kind=price_corrections.KIND,
    )  # fmt: skip
    after = await invoice_store.get(connection, invoice.id)
    return given.model_copy(update={"invoice": after, "given_minor": amount, "matter": matter})


async def _paid_by(connection: AsyncConnection, invoice: Invoice) -> Payment | None:
    """Return the payment of a paid invoice that can be refunded automatically."""
    if invoice.status != "paid":
        return None
    found = await payment_store.of_invoice(connection, invoice.id)
    booked = (one for one in found if one.settled_at is not None and one.received_minor)
    return next((one for one in booked if one.flow != "manual"), None)


async def _refund(
    connection: AsyncConnection, payment: Payment, line: InvoiceLine, mistake: Mistake, amount: int
) -> Matter:
    """Refund whole steps of its provider, and put the odd part on the money balance: the customer
    keeps what was bought, at a lower price. Errors: those of `reversals.refund`.
    """
    whole = whole_steps(payment, amount)
    refund = Wanted(
        refund_id=mistake.refund_id(line.id), amount_minor=whole or amount, reason=mistake.reason,
        to_balance=not whole, reference=None, line=line.position, keep_subscription=True,
        keep_credits=True,
    )  # fmt: skip
    try:
        matter = await reversals.refund(connection, payment.id, refund)
    except Conflict as refused:
        if refused.code != "REFUND_TOO_LARGE":
            raise
        raise Conflict(refused.code, _BROUGHT_LESS, **refused.fields) from refused
    if 0 < whole < amount:
        odd = {"refund_id": mistake.rest_id(line.id), "amount_minor": amount - whole}
        rest = refund.model_copy(update=odd | {"to_balance": True})
        await reversals.refund(connection, payment.id, rest)
    return matter


async def _given_before(
    connection: AsyncConnection,
    invoice: Invoice,
    suffix: str,
    known: Refund | None,
    rest: Refund | None,
) -> dict[str, Any] | None:
    if known is not None and known.takes_room:
        whole = known.amount_minor + (rest.amount_minor if rest is not None else 0)
        return {"given_minor": whole, "refund_id": known.id}
    for note in await invoice_store.credit_notes_of(connection, invoice.id):
        if note["fact_key"].endswith(f"/{suffix}"):
            return {"given_minor": int(note["amount_minor"])}
    return None


def _demand_whole(w: Work[Facts], invoice_id: UUID, *, suffix: str) -> None:
    """Raise CREDITED_BEFORE if a part was credited otherwise: it may be this overcharge, so a
    person must look.
    """
    mine = suffix.rpartition("-")[0]
    noted = (one for one in w.rows.of(CreditNote) if one.invoice_id == invoice_id)
    away = (one for one in taken_back(w.rows, w.rows.get(Invoice, invoice_id)) if one.takes_room)
    if any(mine not in one.fact_key for one in noted) or crediting(w.rows, invoice_id) or any(away):
        raise Conflict("CREDITED_BEFORE")

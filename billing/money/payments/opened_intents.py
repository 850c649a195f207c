"""Store a new intent between a decision and the try of its card, without a second decision."""

from dataclasses import replace
from typing import Final

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, answers, given
from billing.matters.tables import matters
from billing.money.payments import store as payments_store
from billing.money.payments.calls import Call
from billing.money.payments.rules import Outcome
from billing.money.payments.tables import payments

_ITSELF: Final = payments.c.id == given("payment_id")
# A statement of its own: one that waits for the lock would see the matter as of before its wait.
_LOCK: Final = Prepared(select(payments.c.id).where(_ITSELF).with_for_update(key_share=True))
_IS_UNTOUCHED: Final = exists().where(
    matters.c.workflow_id == given("workflow_id"), matters.c.revision == given("revision")
)
_OPENED: Final = ("stripe_payment_intent_id", "client_secret")
_STORE: Final = Prepared(
    update(payments)
    .where(_ITSELF, payments.c.stripe_payment_intent_id.is_(None), _IS_UNTOUCHED)
    .values({name: given(name) for name in _OPENED})
    .returning(payments.c.id)
)


async def store(connection: AsyncConnection, call: Call, outcome: Outcome) -> Call | None:
    """Store the intent that a call has opened; return the call that tries its card.

    None: the matter was woken since it decided, or the intent is not new: it is to decide again.
    """
    payment, attempt = call.payment, call.attempt
    if outcome.kind != "waiting":
        return None
    opened = dict(zip(_OPENED, (outcome.intent_id, outcome.client_secret), strict=True))
    itself = {"payment_id": payment.id}
    untouched = {"workflow_id": payment.workflow_id, "revision": call.revision}
    tried = {"key": attempt.key if attempt is not None else None}
    _, stored, card = await answers(
        connection,
        (_LOCK, itself),
        (_STORE, itself | untouched | opened),
        (payments_store.CARD_OF, tried),
    )
    if not stored:
        return None
    now = payment.model_copy(update=opened)
    return replace(call, what="try_card", payment=now, card=payments_store.show_card(card))

"""The control plane under `/_sandbox/`: how tests, demo and benchmarks steer the sandbox.

Orders are rows and survive a restart; tests judge everything by the journal.
"""

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import JSONResponse

from sandbox import deliveries, form, idempotency, journal, people, plans, scripts
from sandbox.bells import Bells
from sandbox.calls import Call, Operation
from sandbox.cards import CARDS
from sandbox.declines import DECLINES
from sandbox.envelope import Answer, Envelope, Incoming
from sandbox.operations import OPERATIONS
from sandbox.orders import (
    Age,
    Authenticate,
    ClientConfirm,
    Dispute,
    EndDispute,
    FailPage,
    FaultOrder,
    PayPage,
    Redeliver,
    Refund,
    Reissue,
    Release,
    Reset,
    Script,
    SetClock,
    Settle,
    Synthetic,
    TaxRates,
    WebhookOrder,
)
from sandbox.resources import disputes, tax_calculations, test_clocks
from sandbox.settings import API_VERSION
from sandbox.shapes import Json, new_id

P = ParamSpec("P")

ACTIONS = "/_sandbox/person"
SYNTHETIC = "req_synthetic"
"""Prefix of the request id of an event that no request caused."""


def act(envelope: Envelope, name: str, subject: str, run: Callable[[Call], Json]) -> Answer:
    """Run a person's action as one journaled transaction."""
    operation = Operation("POST", f"{ACTIONS}/{name}", {}, run)
    path = f"{ACTIONS}/{name}/{subject}"
    return envelope.execute(Incoming(operation, path, {"id": subject}, {}, actor="person"))


def _do(
    envelope: Envelope, name: str, subject: str, verb: Callable[Concatenate[Call, str, P], Json],
    *args: P.args, **options: P.kwargs,
) -> Answer:  # fmt: skip
    """Run a verb of a person on its subject."""
    return act(envelope, name, subject, lambda call: verb(call, subject, *args, **options))


def routes(envelope: Envelope, bells: Bells) -> APIRouter:
    """Every verb of the control plane."""
    router = APIRouter(prefix="/_sandbox")
    _looking(router, envelope)
    _planning(router, envelope)
    _forgetting(router, envelope)
    _posting(router, envelope, bells)
    _telling(router, envelope, bells)
    _paging(router, envelope)
    _acting(router, envelope)
    _taking_back(router, envelope)
    return router


def _looking(router: APIRouter, envelope: Envelope) -> None:
    store, settings = envelope.store, envelope.settings

    @router.get("/health")
    async def health() -> Json:
        """Return the status; the sandbox is ready once this answers."""
        row = store.row("SELECT count(*) AS n FROM deliveries WHERE state = 'pending'")
        return {
            "status": "ok",
            "api_version": API_VERSION,
            "webhook_url": settings.webhook_url,
            "deliveries_open": row["n"] if row else 0,
            "conformance": settings.conformance,
        }

    @router.get("/journal")
    async def read_journal(request: Request) -> Json:
        """Return rows by entry, name, object, customer, payment_intent, key, metadata[…], since."""
        return {"data": journal.read(store, form.decode(request.url.query))}

    @router.get("/effects")
    async def read_effects(request: Request) -> Json:
        """Return the journal's movements of money only."""
        query = {**form.decode(request.url.query), "entry": "effect"}
        return {"data": journal.read(store, query)}

    @router.get("/violations")
    async def read_violations() -> Json:
        """Return requests and answers that differ from the SDK's shapes."""
        rows = store.rows("SELECT place, problem FROM violations ORDER BY id")
        return {"checked": settings.conformance, "data": [dict(row) for row in rows]}

    @router.get("/cards")
    async def read_cards() -> Json:
        """Return the test cards and the declines."""
        cards = [{"token": card.token, "label": card.label} for card in CARDS.values()]
        return {"cards": cards, "declines": list(DECLINES), "words": list(scripts.WORDS)}


def _planning(router: APIRouter, envelope: Envelope) -> None:
    store = envelope.store

    @router.post("/cards/{target}/script")
    async def script(target: str, order: Script) -> Json:
        """Set the next outcomes of a payment method or a customer."""
        with store.transaction():
            number = scripts.write(store, target, order.purpose, order.outcomes, order.then)
        return {"id": number}

    @router.put("/tax-rates")
    async def tax_rates(order: TaxRates) -> Json:
        """Set the taxes of some countries and regions; those of others stay."""
        with store.transaction():
            known = tax_calculations.collect(store, order.model_dump()["rates"])
        return {"places": sorted(known)}

    @router.post("/faults")
    async def add_fault(order: FaultOrder) -> Json:
        """Plan a fault."""
        return {"id": plans.add(store, "fault", order.model_dump())}

    @router.get("/{kind}/plans")
    async def read_plans(kind: str) -> Json:
        """Plans of a kind, with their counts of matches and hits."""
        found = plans.all_of(store, _plan_kind(kind))
        return {"data": [{"id": p.id, **p.body, "seen": p.seen, "hits": p.hits} for p in found]}

    @router.delete("/{kind}/plans")
    async def clear_plans(kind: str, id: int | None = None) -> Json:
        """Forget one plan, or all of a kind."""
        return {"removed": plans.remove(store, _plan_kind(kind), id)}


def _forgetting(router: APIRouter, envelope: Envelope) -> None:
    store = envelope.store

    @router.post("/reset")
    async def reset(order: Reset) -> Json:
        """Forget everything, or one customer's objects (its journal rows stay)."""
        if order.customer is None:
            store.reset()
            return {"reset": "all"}
        with store.transaction():
            store.reset_customer(order.customer)
            subject = {"id": order.customer, "object": "customer"}
            journal.write(store, "note", "customer.reset", subject)
        return {"reset": order.customer}

    @router.post("/idempotency/age")
    async def age(order: Age) -> Json:
        """Make the kept keys older by this many hours."""
        return {"aged": idempotency.age(store, order.hours)}


def _plan_kind(word: str) -> str:
    kind = {"faults": "fault", "webhooks": "webhook", "scripts": "script"}.get(word)
    if kind is None:
        raise HTTPException(404, f"There are no plans called {word}.")
    return kind


def _posting(router: APIRouter, envelope: Envelope, bells: Bells) -> None:
    store = envelope.store

    @router.post("/webhooks")
    async def add_webhook(order: WebhookOrder) -> Json:
        """Plan the fate of deliveries."""
        return {"id": plans.add(store, "webhook", order.model_dump())}

    @router.post("/webhooks/release")
    async def release(order: Release) -> Json:
        """Release held deliveries."""
        with store.transaction():
            count = deliveries.release(store, order.model_dump())
        bells.ring()
        return {"released": count}

    @router.get("/webhooks/deliveries")
    async def read_deliveries(customer: str | None = None, state: str | None = None) -> Json:
        """Every posting, oldest first, with its state and last answer."""
        found = store.rows(
            "SELECT * FROM deliveries WHERE coalesce(?, customer, '') = coalesce(customer, '')"
            " AND coalesce(?, state) = state ORDER BY id",
            customer,
            state,
        )
        return {"data": [dict(row) for row in found]}


def _telling(router: APIRouter, envelope: Envelope, bells: Bells) -> None:
    store, settings = envelope.store, envelope.settings

    @router.post("/events")
    async def synthetic(order: Synthetic) -> Json:
        """Emit an event without a cause."""
        with store.transaction():
            call = Call(store, settings, new_id(SYNTHETIC))
            event = call.emit(order.type, order.object, version=order.api_version)
        bells.ring()
        return event

    @router.post("/events/{event_id}/redeliver")
    async def redeliver(event_id: str, order: Redeliver) -> Json:
        """Post an event again, as often as asked."""
        event = store.get("event", event_id)
        if event is None:
            raise HTTPException(404, f"There is no event {event_id}.")
        row = store.row("SELECT customer FROM objects WHERE id = ?", event_id)
        with store.transaction():
            deliveries.again(store, event, row["customer"] if row else None, order.copies)
        bells.ring()
        return {"copies": order.copies}


def _paging(router: APIRouter, envelope: Envelope) -> None:
    @router.post("/checkout/sessions/{session_id}/pay")
    async def pay(session_id: str, order: PayPage) -> JSONResponse:
        """Pay on the hosted page; 402 when the card is declined."""
        answer = _do(envelope, "pay", session_id, people.pay_session, order.payment_method)
        intent = answer.body.get("payment_intent") or answer.body.get("setup_intent")
        if answer.status == 200 and order.authenticate is not None and isinstance(intent, str):
            _finish(envelope, intent, order.authenticate)
            body = envelope.store.find(session_id) or answer.body
            return JSONResponse(body, 200)
        return _told(answer)

    @router.post("/checkout/sessions/{session_id}/fail")
    async def fail(session_id: str, order: FailPage) -> JSONResponse:
        """Try a card that is declined for this reason; return the 402."""
        if order.reason not in DECLINES:
            raise HTTPException(422, f"{order.reason!r} is not a decline.")
        return _told(_do(envelope, "pay", session_id, people.pay_declined, order.reason))

    @router.post("/checkout/sessions/{session_id}/cancel")
    async def cancel(session_id: str) -> Json:
        """Leave the page by its back link: the session stays open, as at Stripe."""
        session = envelope.store.get("checkout.session", session_id)
        if session is None:
            raise HTTPException(404, f"There is no session {session_id}.")
        return {"status": session["status"], "cancel_url": session["cancel_url"]}


def _acting(router: APIRouter, envelope: Envelope) -> None:
    @router.post("/intents/{intent_id}/authenticate")
    async def authenticate(intent_id: str, order: Authenticate) -> JSONResponse:
        """Pass or fail 3-D Secure."""
        return _told(_finish(envelope, intent_id, order.passed))

    @router.post("/payment_intents/{intent_id}/settle")
    async def settle(intent_id: str, order: Settle) -> JSONResponse:
        """End a payment that is processing."""
        if order.outcome is not None and not scripts.known(order.outcome, "charge"):
            raise HTTPException(422, f"{order.outcome!r} is not an outcome of a charge.")
        return _told(_do(envelope, "settle", intent_id, people.settle, order.outcome))

    @router.post("/payment_intents/{intent_id}/cancel")
    async def cancel(intent_id: str) -> JSONResponse:
        """Cancel a payment in the dashboard, also one that is processing."""
        return _told(_do(envelope, "cancel", intent_id, people.cancel))

    @router.post("/{kind}/{intent_id}/confirm_as_client")
    async def confirm(kind: str, intent_id: str, order: ClientConfirm) -> JSONResponse:
        """Confirm as a browser does: publishable key, client secret, a test card."""
        return _told(confirm_as_client(envelope, kind, intent_id, order))

    @router.post("/payment_methods/{method_id}/reissue")
    async def reissue(method_id: str, order: Reissue) -> JSONResponse:
        """Give a saved card another number, as its bank does."""
        if order.card not in CARDS:
            raise HTTPException(422, f"{order.card!r} is not a test card.")
        return _told(_do(envelope, "reissue", method_id, people.reissue, order.card))

    @router.post("/customers/{customer}/clock")
    async def clock(customer: str, order: SetClock) -> JSONResponse:
        """Put a customer on a clock of its own, or move that clock, at once."""
        return _told(_do(envelope, "clock", customer, test_clocks.put_on, order.frozen_time))


def _taking_back(router: APIRouter, envelope: Envelope) -> None:
    @router.post("/payment_intents/{intent_id}/refund")
    async def refund(intent_id: str, order: Refund) -> JSONResponse:
        """Refund in the dashboard."""
        return _told(_do(envelope, "refund", intent_id, people.refund, order.amount))

    @router.post("/payment_intents/{intent_id}/dispute")
    async def dispute(intent_id: str, order: Dispute) -> JSONResponse:
        """Open a dispute, or an inquiry."""
        return _told(_do(envelope, "dispute", intent_id, people.dispute, order))

    @router.post("/disputes/{dispute_id}/finish")
    async def finish(dispute_id: str, order: EndDispute) -> JSONResponse:
        """Win or lose a dispute."""
        return _told(
            _do(envelope, "finish", dispute_id, disputes.finish, order.outcome, order.returned)
        )


def _finish(envelope: Envelope, intent_id: str, passed: bool) -> Answer:
    return _do(envelope, "authenticate", intent_id, people.authenticate, passed=passed)


def confirm_as_client(
    envelope: Envelope, kind: str, intent_id: str, order: ClientConfirm
) -> Answer:
    """Confirm with the publishable key and the client secret, as a browser does."""
    path = f"/v1/{kind}/{{intent}}/confirm"
    operation = next((o for o in OPERATIONS if (o.method, o.path) == ("POST", path)), None)
    intent = envelope.store.find(intent_id)
    if operation is None or intent is None:
        raise HTTPException(404, f"There is no intent {intent_id} among {kind}.")
    raw = {"client_secret": intent["client_secret"], **order.model_dump(exclude_none=True)}
    incoming = Incoming(
        operation, path.format(intent=intent_id), {"intent": intent_id}, raw,
        publishable=True, actor="client",
    )  # fmt: skip
    return envelope.execute(incoming)


def _told(answer: Answer) -> JSONResponse:
    return JSONResponse(answer.body, answer.status)

"""The pages a person sees: an index, the hosted checkout, the 3-D Secure step, a receipt.

Plain HTML with autoescape; a form posts, the answer is a redirect.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sandbox import amounts, form, people
from sandbox.cards import CARDS
from sandbox.control_plane import act, confirm_as_client
from sandbox.envelope import Answer, Envelope
from sandbox.orders import ClientConfirm
from sandbox.resources import portal_sessions
from sandbox.settings import API_VERSION
from sandbox.shapes import Json

RECENT = 20

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True),
)
_ENVIRONMENT.filters["money"] = amounts.shown


_TRIES = re.compile(r"(?<=[?&]tries=)\d+")
# A form goes on to wherever its merchant wants the payer back.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action *; base-uri 'none';"
    " frame-ancestors 'none'"
)


def show_page(template: str, status: int = 200, **names: Any) -> HTMLResponse:
    html = _ENVIRONMENT.get_template(template).render(api_version=API_VERSION, **names)
    return HTMLResponse(html, status, {"Content-Security-Policy": _POLICY})


def _missing(what: str) -> HTMLResponse:
    return show_page("message.html", 404, title="Nothing here", text=f"There is no {what}.")


def routes(envelope: Envelope) -> APIRouter:
    """The pages, beside the API they act through."""
    router = APIRouter()
    router.add_api_route("/", _index(envelope), response_class=HTMLResponse)
    _checkout(router, envelope)
    _authentication(router, envelope)
    _elements(router, envelope)
    _portal(router, envelope)
    _receipt(router, envelope)
    return router


def _index(envelope: Envelope) -> Callable[[], Any]:
    store, settings = envelope.store, envelope.settings

    def recent(kind: str) -> list[Json]:
        rows = store.rows(
            "SELECT id FROM objects WHERE kind = ? ORDER BY seq DESC LIMIT ?", kind, RECENT
        )
        return [body for row in rows if (body := store.find(row["id"]))]

    async def index() -> HTMLResponse:
        kinds = ("customer", "payment_intent", "checkout.session", "event")
        return show_page(
            "index.html", settings=settings, cards=CARDS.values(),
            recent={kind: recent(kind) for kind in kinds},
        )  # fmt: skip

    return index


def _checkout(router: APIRouter, envelope: Envelope) -> None:
    store = envelope.store

    def shown(session_id: str, problem: str | None = None) -> Response:
        session = store.get("checkout.session", session_id)
        if session is None:
            return _missing("such checkout page")
        if session["status"] == "complete":
            return _leave(session["success_url"], session_id)
        if session["status"] != "open":
            text = "This page has expired. Go back to the shop and start again."
            return show_page("message.html", 410, title="Expired", text=text)
        items = store.hidden(session_id)["line_items"]
        return show_page(
            "checkout.html", session=session, items=items, cards=CARDS.values(), problem=problem
        )

    @router.get("/checkout/{session_id}")
    async def page(session_id: str) -> Response:
        return shown(session_id)

    @router.post("/checkout/{session_id}")
    async def pay(session_id: str, request: Request) -> Response:
        given = form.decode((await request.body()).decode("utf-8", "replace"))
        card = str(given.get("card", "pm_card_visa"))
        answer = act(
            envelope, "pay", session_id, lambda call: people.pay_session(call, session_id, card)
        )
        if answer.status != 200:
            return shown(session_id, answer.body["error"]["message"])
        intent_id = answer.body["payment_intent"] or answer.body["setup_intent"]
        intent = store.find(intent_id) or {}
        if intent.get("status") == "requires_action":
            return RedirectResponse(f"/3ds/{intent_id}", 303)
        return shown(session_id)


def _leave(url: str, session_id: str) -> RedirectResponse:
    return RedirectResponse(url.replace("{CHECKOUT_SESSION_ID}", session_id), 303)


def _authentication(router: APIRouter, envelope: Envelope) -> None:
    store = envelope.store

    @router.get("/3ds/{intent_id}")
    async def page(intent_id: str) -> Response:
        intent = store.find(intent_id)
        if intent is None or intent.get("status") != "requires_action":
            return _missing("step to finish")
        return show_page("authentication.html", intent=intent)

    @router.post("/3ds/{intent_id}")
    async def finish(intent_id: str, request: Request) -> Response:
        given = form.decode((await request.body()).decode("utf-8", "replace"))
        passed = given.get("answer") == "pass"
        before = store.find(intent_id) or {}
        answer = act(
            envelope, "authenticate", intent_id,
            lambda call: people.authenticate(call, intent_id, passed=passed),
        )  # fmt: skip
        return _back(before, answer)


def _elements(router: APIRouter, envelope: Envelope) -> None:
    """Serve the card form that Stripe.js embeds in a shop's page, as its own page."""

    @router.post("/elements/{intent_id}")
    async def confirm(intent_id: str, request: Request) -> Response:
        given = form.decode((await request.body()).decode("utf-8", "replace"))
        back, card = str(given.get("return_url", "")), given.get("card")
        intent = envelope.store.find(intent_id)
        known = intent is not None and intent.get("client_secret") == given.get("client_secret")
        if intent is None or not known or not back.startswith(("http://", "https://")):
            return _missing("such payment")
        problem = None
        if card is not None:
            order = ClientConfirm(payment_method=str(card), return_url=back)
            answer = confirm_as_client(envelope, f"{intent['object']}s", intent_id, order)
            if answer.status == 200:
                return _onward(answer.body, back)
            refused = answer.body["error"]
            problem = refused["message"]
            if refused["type"] == "card_error":  # a shop's page counts it as one more try
                back = _TRIES.sub(lambda count: str(int(count[0]) + 1), back)
        return show_page(
            "elements.html", intent=intent, cards=CARDS.values(), return_url=back, problem=problem
        )


def _onward(intent: Json, back: str) -> Response:
    """Redirect to the bank's 3-D Secure page, or back to the shop."""
    if intent["status"] == "requires_action":
        return RedirectResponse(f"/3ds/{intent['id']}", 303)
    return RedirectResponse(f"{back}{'&' if '?' in back else '?'}redirect_status=succeeded", 303)


def _back(before: Json, answer: Answer) -> Response:
    """Redirect to the shop's return address, with the parameters that Stripe adds."""
    redirect = (before.get("next_action") or {}).get("redirect_to_url")
    status = answer.body.get("status", "unknown")
    if not redirect:
        text = f"Done: the intent has a status of {status}. You can close this page."
        return show_page("message.html", title="3-D Secure", text=text)
    noun, target = before["object"], redirect["return_url"]
    more = (
        f"{noun}={before['id']}&{noun}_client_secret={quote(before['client_secret'])}"
        f"&redirect_status={'succeeded' if status == 'succeeded' else 'failed'}"
    )
    return RedirectResponse(f"{target}{'&' if '?' in target else '?'}{more}", 303)


def _portal(router: APIRouter, envelope: Envelope) -> None:
    store = envelope.store

    def shown(session_id: str, problem: str | None = None) -> Response:
        session = store.get(portal_sessions.KIND, session_id)
        if session is None:
            return _missing("such portal")
        held = [
            one for one in store.select("payment_method") if one["customer"] == session["customer"]
        ]
        return show_page(
            "portal.html", session=session, methods=held, cards=CARDS.values(), problem=problem
        )

    @router.get("/portal/{session_id}")
    async def page(session_id: str) -> Response:
        return shown(session_id)

    @router.post("/portal/{session_id}")
    async def change(session_id: str, request: Request) -> Response:
        given = form.decode((await request.body()).decode("utf-8", "replace"))
        verbs = {"card": people.add, "default": people.choose, "method": people.remove}
        what = next((one for one in verbs if one in given), "method")
        verb, name = verbs[what], str(given.get(what, ""))
        answer = act(envelope, what, session_id, lambda call: verb(call, session_id, name))
        return shown(session_id, None if answer.status == 200 else answer.body["error"]["message"])


def _receipt(router: APIRouter, envelope: Envelope) -> None:
    @router.get("/receipts/{charge_id}")
    async def receipt(charge_id: str) -> Response:
        charge = envelope.store.get("charge", charge_id)
        if charge is None:
            return _missing("such receipt")
        paid = amounts.shown(charge["amount"], charge["currency"])
        details = charge["payment_method_details"]
        last4 = details[details["type"]].get("last4")
        payer = f"the card or account ending in {last4}" if last4 else details["type"]
        text = f"{paid} charged to {payer} ({charge['status']})."
        return show_page("message.html", title=f"Receipt {charge_id}", text=text)

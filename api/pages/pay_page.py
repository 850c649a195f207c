"""The page behind a signed link: its payer finishes one payment, or saves one card [J8, U8].

The link is the only proof: nobody logs in. Opening the page changes nothing, because mail scanners
open it too; the button starts the payment. The card's number goes from the browser to Stripe, or to
the stand-in.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.answers import problems
from api.calls import AccountCall
from api.identity.auth import BILLING, Caller
from api.identity.request_windows import RateClass
from api.pages.html_pages import page
from api.routes.invoice_answers import next_action_of
from api.routes.invoices import offer
from api.routes.setup_intents import setup_action
from api.services import Services
from api.workflow_calls import need_temporal
from billing.core import context, ids
from billing.core.clock import real_now
from billing.core.errors import BillingError, NotFound
from billing.money.invoice_requests import card
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods import card_setup
from billing.money.payments import store as payment_store
from billing.money.payments.pay_links import PayLink
from billing.money.payments.schemas import PAYPAL, UNCONFIRMED, Attempt, Payment
from billing.platform.accounts import issuers

Handler = Callable[[Request], Awaitable[HTMLResponse]]
PATH: Final = "/pay/{token}"
BACK: Final = "/pay/back"
_STRIPE: Final = (
    "script-src 'nonce-{nonce}' https://js.stripe.com https://*.js.stripe.com;"
    " frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com;"
    " connect-src https://api.stripe.com; form-action 'self'"
)
_ENDED: Final = {
    "paid": ("Paid", "Thank you. There is nothing more to do."),
    "void": ("Withdrawn", "This invoice was withdrawn: there is nothing to pay."),
}
_BY_CARD: Final = "Pay by card. Your bank may ask you to confirm."
_ELSEWHERE: Final = {
    PAYPAL: "You pay at PayPal.",
    "checkout": "You pay on a page of the payment provider.",
}
_WAIT: Final = "The bank is deciding. This page refreshes by itself."
_REFRESH_SECONDS: Final = 3
_FAILED_SECONDS: Final = 10
_DIGITS: Final = 6
"""The most digits of a count that are read from an address."""
_FAILED: Final = "The bank did not confirm the payment. Try again, or use another card."


@dataclass(frozen=True)
class PayPageState:
    """The current state of what a link is for."""

    title: str
    text: str
    action: Mapping[str, Any]
    verb: str = "Pay"
    more: dict[str, Any] | None = None
    """The invoice, its lines and its issuer."""
    tries: int = 0
    """The payer's declined tries. If they are more since the payer left, a debit has failed."""
    offer: tuple[card.PayersOwn, str | None] | None = None
    """The flow that the button asks for, and the page its payer returns to."""

    @property
    def is_payable(self) -> bool:
        """True if the payer can act."""
        return self.action["type"] in ("confirm_card", "redirect", "ask")


_IF_PAID: Final = "If you paid, the shop is notified within moments."
_CAME_BACK: Final = PayPageState("You can close this page", _IF_PAID, {"type": "none"})
_CLOSED: Final = PayPageState("Payments are closed", _IF_PAID, {"type": "none"})


def install(app: FastAPI, *, billing: bool) -> None:
    """Serve the page beside the API, outside of its document.

    Payers may also come back while billing is switched off.
    """
    app.add_route(BACK, _back, methods=["GET"], include_in_schema=False)
    show, begin = (_in_words(_show), _in_words(_begin)) if billing else (_closed, _closed)
    app.add_route(PATH, show, methods=["GET"], include_in_schema=False)
    app.add_route(PATH, begin, methods=["POST"], include_in_schema=False)


def _in_words(handler: Handler) -> Handler:
    """Return the handler with a page for whatever is refused or away: payers read no JSON."""

    async def answered(request: Request) -> HTMLResponse:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - each failure needs a page
            return _not_now(request, error)

    return answered


def _not_now(request: Request, error: Exception) -> HTMLResponse:
    """Answer a failure in words. A page that was to be shown looks again by itself once the failure
    may be over; one that was to open a payment has its button again.
    """
    failed = problems.from_any(error)
    again = failed.headers.get("Retry-After")
    is_ours = failed.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    text = "Please try again in a moment."
    if isinstance(error, BillingError) and again is None and not is_ours:
        text = error.detail
    standing = PayPageState("Not now", text, {"type": "none"}, verb="Try again")
    template, refresh = "pay.html", again or (_FAILED_SECONDS if is_ours else None)
    if request.method == "POST":
        template, refresh = "pay_begin.html", None
    answer = _page(
        template, standing, status=failed.status_code, path=request.url.path, refresh=refresh
    )
    if again is not None:
        answer.headers["Retry-After"] = again
    return answer


async def _closed(_: Request) -> HTMLResponse:
    """Show the page of any link while billing is switched off."""
    return _page("pay.html", _CLOSED, status=404)


async def _back(_: Request) -> HTMLResponse:
    """Show the page for a payer who returns from the provider, if the caller named no page."""
    return _page("pay.html", _CAME_BACK)


async def _show(request: Request) -> HTMLResponse:
    """Show the current state, with a button while something can be paid."""
    call, link = await _opened(request, "reads")
    if call is None or link is None:
        return _refusal(link)
    standing = await _standing(call, link)
    query = request.query_params
    hears = standing.is_payable and _has_paid(query, standing)
    waits = standing.action["type"] == "wait" or hears
    if waits or not standing.is_payable:
        return _without_button(standing, waits=waits)
    problem = _FAILED if query.get("redirect_status") == "failed" else None
    return _page("pay_begin.html", standing, problem=problem, path=request.url.path)


def _has_paid(query: QueryParams, standing: PayPageState) -> bool:
    """Return True if the payer's address says that the bank agreed, and no try failed after that.

    It still says so when a debit fails days later. It may count declines that are not on record
    yet, because the browser hears of them first.
    """
    tries = query.get("tries", "")
    agreed = query.get("redirect_status") == "succeeded"
    return agreed and tries.isdecimal() and int(tries[:_DIGITS]) >= standing.tries


async def _begin(request: Request) -> HTMLResponse:
    """Open the payment if it is not open yet, and let the payer confirm it."""
    services: Services = request.app.state.services
    services.pulse.refuse()
    call, link = await _opened(request, "money")
    if call is None or link is None:
        return _refusal(link)
    standing = await _standing(call, link)
    if standing.offer is not None:
        await call.services.barrier.refuse()
        await need_temporal(call)
        await offer(call, link.subject_id, *standing.offer)
        standing = await _standing(call, link)
    action = standing.action
    if action["type"] == "redirect":
        return _page("pay_elsewhere.html", standing, url=action["url"])
    if action["type"] != "confirm_card":
        return _without_button(standing, waits=action["type"] != "none")
    await _note_link(call, link)
    return _confirm(call, link, standing, request)


async def _note_link(call: AccountCall, link: PayLink) -> None:
    """Note that whoever has the link pays: the card is tried on nothing else."""
    if link.kind == "invoice":
        await call.services.barrier.refuse()
        async with call.transaction() as connection:
            await card.note_link(connection, link.subject_id)


def _without_button(standing: PayPageState, *, waits: bool) -> HTMLResponse:
    """Show the state; the page refreshes itself if it `waits` for the bank."""
    if waits:
        return _page("pay.html", standing, text=_WAIT, refresh=_REFRESH_SECONDS)
    return _page("pay.html", standing)


def _confirm(
    call: AccountCall, link: PayLink, standing: PayPageState, request: Request
) -> HTMLResponse:
    """Return the provider's form: Stripe's own, or a page of the stand-in."""
    settings, secret = call.settings, standing.action["client_secret"]
    back = f"{settings.public_url.rstrip('/')}{request.url.path}?tries={standing.tries}"
    given = {"client_secret": secret, "return_url": back}
    if settings.stripe_api_base is not None:
        stand_in = settings.stripe_public_base or settings.stripe_api_base
        intent_id = secret.partition("_secret")[0]
        policy = f"form-action {stand_in}"
        given |= {"provider": stand_in, "intent_id": intent_id}
        return _page("pay_stand_in.html", standing, policy=policy, **given)
    given |= {"publishable_key": settings.stripe_publishable_key, "kind": link.kind}
    return _page("pay_stripe.html", standing, policy=_STRIPE, verb=standing.verb, **given)


async def _opened(request: Request, rate: RateClass) -> tuple[AccountCall | None, PayLink | None]:
    """Return the call for the link's account; None where the link is wrong or expired."""
    services: Services = request.app.state.services
    services.rates.count_address(rate, request)
    link = services.pay_links.read(request.path_params["token"])
    if link is None or link.is_over(real_now()):
        return None, link
    tenant = await services.tenants.find(ids.encode(ids.ACCOUNT, link.account_id))
    if tenant is None:
        return None, None
    caller = Caller("pay-link", tenant.public_id, frozenset({BILLING}), link.expires_at.timestamp())
    context.actor.set(caller.actor)
    return AccountCall(caller, services, tenant), link


async def _standing(call: AccountCall, link: PayLink) -> PayPageState:
    if link.kind == "setup":
        return await _setup(call, link.subject_id)
    return await _invoice(call, link.subject_id)


async def _setup(call: AccountCall, setup_id: UUID) -> PayPageState:
    async with call.transaction() as connection:
        try:
            setup = await card_setup.get(connection, setup_id)
        except NotFound:
            return PayPageState("Not found", "This link is not valid.", {"type": "none"})
    if setup.payment_method_id is not None:
        return PayPageState("Saved", "Your card is saved. Thank you.", {"type": "none"})
    if setup.finished_at is not None:
        return PayPageState(
            "Expired", "This card was not saved in time: ask for a new link.", {"type": "none"}
        )
    text = "Your card will be saved for future payments. Nothing is charged now."
    return PayPageState("Save a card", text, setup_action(setup), verb="Save a card")


async def _invoice(call: AccountCall, invoice_id: UUID) -> PayPageState:
    async with call.transaction() as connection:
        try:
            invoice = await invoice_store.get(connection, invoice_id)
        except NotFound:
            return PayPageState("Not found", "This link is not valid.", {"type": "none"})
        tries = await payment_store.attempts_of(connection, invoice_id)
        action: Mapping[str, Any] = await next_action_of(
            connection, invoice, tries, call.services.pay_links
        )
        live = await payment_store.live(connection, invoice_id)
        more = {
            "invoice": invoice,
            "lines": await invoice_store.lines(connection, invoice_id),
            "issuer": await issuers.name(connection, invoice.issuer_id),
        }
    if invoice.status in _ENDED:
        title, text = _ENDED[invoice.status]
        return PayPageState(title, text, {"type": "none"}, more=more)
    title = f"Invoice {invoice.number}" if invoice.number else "Payment"
    if action["type"] == "manual":
        text = f"Pay by bank transfer with the reference {action['payment_reference']}."
        return PayPageState(title, text, {"type": "none"}, more=more)
    if action["type"] == "none" and invoice.outstanding_minor:
        action = {"type": "ask"}
    about = _about(action, invoice, live)
    return PayPageState(title, action=action, more=more, tries=_by_payer(tries), **about)


def _by_payer(tries: Iterable[Attempt]) -> int:
    """Count the declined tries that the payer's page counts, too: those with cards of its own, and
    each failed 3-D Secure. A slot may be declined while the page is open.
    """
    declined = (one for one in tries if one.status == "declined")
    return sum(one.payment_method_id is None or UNCONFIRMED in one.detail for one in declined)


def _about(action: Mapping[str, Any], invoice: Invoice, live: Payment | None) -> dict[str, Any]:
    """Return the words beside the button and on it, and what it asks for."""
    if action["type"] == "ask":
        return {"text": _BY_CARD, "offer": ("card", None)}
    if action["type"] != "redirect" or live is None or live.flow not in _ELSEWHERE:
        return {"text": _BY_CARD}
    about: dict[str, Any] = {"text": _ELSEWHERE[live.flow], "verb": "Continue"}
    if live.flow == PAYPAL and invoice.purchase_id is None:
        # Whoever asks for an order that PayPal ends soon, or has ended, gets a new one.
        about["offer"] = (PAYPAL, live.return_url)
    return about


def _refusal(link: PayLink | None) -> HTMLResponse:
    """Answer 404 for a link that this service did not sign, 410 for an expired one."""
    if link is None:
        wrong = PayPageState("Not found", "This link is not valid.", {"type": "none"})
        return _page("pay.html", wrong, status=404)
    over = PayPageState("Expired", "This link has expired: ask for a new one.", {"type": "none"})
    return _page("pay.html", over, status=410)


def _page(
    template: str,
    standing: PayPageState,
    *,
    status: int = 200,
    policy: str = "form-action 'self'",
    **names: Any,
) -> HTMLResponse:
    shown = {"title": standing.title, "text": standing.text, "verb": standing.verb}
    blank = {"invoice": None, "lines": (), "issuer": None, "problem": None, "refresh": None}
    values = blank | shown | (standing.more or {}) | names
    answer = page(template, status=status, policy=policy, **values)
    # The address contains the token.
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer

"""Keys that release 0.1.0 stored are found again, wherever their handlers are now."""

from typing import Final

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from api.idempotency import CLAIMING, route_name
from api.requests.fastapi_internals import dependency_calls

RELEASED: Final = {
    "accounts.upsert_account",
    "credits.adjust_credits",
    "dunning.extend_dunning",
    "dunning.forgive_dunning",
    "dunning.pause_dunning",
    "dunning.resume_dunning",
    "dunning.retry_dunning_now",
    "invoices.pay_invoice",
    "payment_methods.change_payment_method",
    "payment_methods.choose_default_method",
    "payment_methods.create_payment_method",
    "payment_methods.create_setup_intent",
    "payment_methods.delete_payment_method",
    "payments.approve_payment",
    "payments.reject_payment",
    "payments.submit_manual_payment",
    "purchases.create_purchase",
    "purchases.purchase_package",
    "subscriptions.cancel_subscription",
    "subscriptions.change_subscription",
    "subscriptions.reactivate_subscription",
    "subscriptions.subscribe",
    "trials.start_trial",
}


def test_a_handler_that_moved_keeps_the_name_of_its_keys(app: FastAPI) -> None:
    names = [
        route_name(Request({"type": "http", "endpoint": route.endpoint}))
        for route in app.routes
        if isinstance(route, APIRoute) and not CLAIMING.isdisjoint(dependency_calls(route))
    ]
    assert set(names) >= RELEASED

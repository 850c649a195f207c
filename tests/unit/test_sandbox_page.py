"""The sandbox's page shows orders that it takes, for every verb with a body, and cards it has."""

import json
import re
from typing import Final

import pytest
from pydantic import BaseModel

from devstack.options import ROOT
from sandbox import orders, paypal_routes
from sandbox.cards import CARDS

PAGE: Final = (ROOT / "sandbox" / "README.md").read_text()
SHOWN: Final = dict(re.findall(r"^\| `POST ([^`]+)` \| `(\{.*?\})` \|", PAGE, re.MULTILINE))
ORDERS: Final[dict[str, type[BaseModel]]] = {
    "cards/{pm or customer}/script": orders.Script,
    "payment_intents/{id}/confirm_as_client": orders.ClientConfirm,
    "intents/{id}/authenticate": orders.Authenticate,
    "payment_methods/{id}/reissue": orders.Reissue,
    "payment_intents/{id}/settle": orders.Settle,
    "payment_intents/{id}/refund": orders.Refund,
    "payment_intents/{id}/dispute": orders.Dispute,
    "disputes/{id}/finish": orders.EndDispute,
    "paypal/orders/{id}/settle": paypal_routes.Settle,
    "checkout/sessions/{id}/pay": orders.PayPage,
    "checkout/sessions/{id}/fail": orders.FailPage,
    "customers/{id}/clock": orders.SetClock,
    "faults": orders.FaultOrder,
    "webhooks": orders.WebhookOrder,
    "webhooks/release": orders.Release,
    "events": orders.Synthetic,
    "events/{id}/redeliver": orders.Redeliver,
    "idempotency/age": orders.Age,
    "reset": orders.Reset,
}


@pytest.mark.parametrize("verb", ORDERS)
def test_each_example_is_an_order_that_is_taken(verb: str) -> None:
    ORDERS[verb].model_validate(json.loads(SHOWN[verb]))


def test_every_verb_with_a_body_has_an_example() -> None:
    assert SHOWN.keys() == ORDERS.keys()


def test_the_cards_on_the_page_are_there() -> None:
    assert set(re.findall(r"pm_card_\w+", PAGE)) <= CARDS.keys()

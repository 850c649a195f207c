"""Answers of the provider that are rare: what they mean is known all the same."""

from asyncio import StreamReader, StreamWriter, start_server
from types import SimpleNamespace
from typing import Any

import pytest
import stripe

from billing.core.errors import ProviderFailure, Unavailable
from gateways.provider import RefundRequest
from gateways.stripe import StripeGateway
from gateways.stripe_objects import card_details, setup_outcome


async def test_an_answer_that_is_cut_off_is_none() -> None:
    async def cut(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
        writer.close()

    async with await start_server(cut, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        gateway = StripeGateway("sk_test_x", f"http://{host}:{port}")
        with pytest.raises(Unavailable):
            await gateway.retrieve_intent("pi_1")
        await gateway.close()


@pytest.mark.parametrize(
    ("owner", "status", "is_kept"), [("cus_1", "succeeded", True), (None, "canceled", False)]
)
def test_a_card_that_was_removed_after_its_setup_is_not_kept(
    owner: str | None, status: str, is_kept: bool
) -> None:
    card = {"brand": "visa", "last4": "4242", "exp_month": 1, "exp_year": 2030}
    intent: Any = stripe.SetupIntent.construct_from(
        {
            "id": "seti_1", "status": "succeeded", "client_secret": "s", "last_setup_error": None,
            "payment_method": {
                "id": "pm_1", "object": "payment_method", "type": "card", "customer": owner,
                "card": card | {"fingerprint": "f", "country": "US"},
            },
        },
        "sk_test_x",
    )  # fmt: skip
    outcome = setup_outcome(intent)
    assert (outcome.status, outcome.card is not None) == (status, is_kept)


def test_a_method_that_is_no_card_is_kept_with_what_it_has() -> None:
    given: Any = stripe.PaymentMethod.construct_from(
        {"id": "pm_1", "object": "payment_method", "type": "link", "customer": "cus_1",
         "link": {"email": "payer@example.com"}},
        "sk_test_x",
    )  # fmt: skip
    kept = card_details(given)
    assert (kept.kind, kept.provider_kind) == ("other", "link")
    assert (kept.last4, kept.fingerprint, kept.exp_year) == (None, None, None)


@pytest.mark.parametrize(
    ("code", "param", "owner", "is_gone"),
    [
        ("resource_missing", "payment_method", "cus_1", True),
        (None, None, None, True),
        (None, None, "cus_2", True),
        (None, None, "cus_1", False),
        ("resource_missing", "customer", None, False),
    ],
)
async def test_only_a_card_that_is_not_the_customers_is_gone(
    code: str | None, param: str | None, owner: str | None, *, is_gone: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def of_customer(*_: Any) -> None:
        raise stripe.InvalidRequestError("no", param, code=code)  # type: ignore[no-untyped-call]

    async def of_anybody(*_: Any) -> SimpleNamespace:
        return SimpleNamespace(customer=owner)

    gateway = StripeGateway("sk_test_x", "http://127.0.0.1:1")
    cards = SimpleNamespace(retrieve_async=of_customer)
    methods = SimpleNamespace(retrieve_async=of_anybody)
    v1 = SimpleNamespace(customers=SimpleNamespace(payment_methods=cards), payment_methods=methods)
    monkeypatch.setattr(gateway, "_client", SimpleNamespace(v1=v1))
    if is_gone:
        assert await gateway.retrieve_method("cus_1", "pm_1") is None
    else:
        with pytest.raises(ProviderFailure):
            await gateway.retrieve_method("cus_1", "pm_1")


async def test_a_refund_of_a_payment_that_cannot_be_refunded_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def create_async(*_: Any) -> None:
        code = "payment_intent_unexpected_state"
        raise stripe.InvalidRequestError("no", "payment_intent", code=code)  # type: ignore[no-untyped-call]

    gateway = StripeGateway("sk_test_x", "http://127.0.0.1:1")
    refunds = SimpleNamespace(create_async=create_async)
    monkeypatch.setattr(gateway.client.v1, "refunds", refunds)
    asked = RefundRequest(key="k", intent_id="pi_1", amount_minor=100, currency="USD", metadata={})
    with pytest.raises(ProviderFailure) as refused:
        await gateway.refund(asked)
    assert refused.value.code == "PROVIDER_REFUSED"

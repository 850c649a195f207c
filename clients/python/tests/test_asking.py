"""Calls that wait for their answer: refusals with their fields, safe retries, holds."""

import json
import socket
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from clients.python.tests.conftest import NewClient
from clients.python.tests.stand_in import StandIn, problem
from durable_billing.client import BillingClient
from durable_billing.connection import Token, pause_seconds
from durable_billing.errors import (
    BillingClientError,
    BillingProblem,
    BillingUnreachable,
    InvalidEvent,
)

HOLD = {
    "hold_id": "hold_1", "status": "open", "amount": "5.00", "captured": "0",
    "expires_at": "2027-01-01T00:00:00Z",
}  # fmt: skip
CAPTURE = {
    "hold_id": "hold_1", "transaction_id": "txn_1", "captured": "2.00", "released": "3.00",
    "balance": "8.00",
}  # fmt: skip
QUOTE = {
    "product_id": "gpt-4", "usage_amount": "1000", "unit_price": "0.002", "total_cost": "2.00",
    "currency": "CREDIT", "is_free_tier": False, "is_included_in_subscription": False,
    "suggested_billing_method": "wallet_deduction", "available_billing_methods": [],
}  # fmt: skip
BILL = {
    "billing_id": "bill_1", "billing_status": "completed", "billing_method": "credit_consumption",
    "meter": "model_inference", "unit_price": "0.002", "total_cost": "2.00", "currency": "CREDIT",
    "is_free_tier": False, "is_included_in_subscription": False,
}  # fmt: skip

RECORD = {
    "billing_id": "bill_1", "event_id": None, "product_id": "gpt-4", "meter": "model_inference",
    "usage_amount": "1000", "unit_price": "0.002", "total_amount": "2.00", "currency": "USD",
    "billing_method": "payment_charge", "billing_status": "completed", "transaction_id": None,
    "occurred_at": "2027-01-01T00:00:00Z",
}  # fmt: skip


def ok(body: object) -> httpx2.Response:
    return httpx2.Response(200, json=body)


def paths(api: StandIn) -> list[str]:
    return [request.url.path.rpartition("/")[2] for request in api.requests]


def test_a_word_of_a_later_api_is_no_reason_to_lose_a_hold(new_client: NewClient) -> None:
    client = new_client(StandIn(ok(HOLD | {"status": "frozen"})))
    assert client.hold("5").state.status == "frozen"


def test_a_refusal_carries_the_problems_facts(new_client: NewClient) -> None:
    client = new_client(StandIn(problem(402, "INSUFFICIENT_CREDITS")))
    with pytest.raises(BillingProblem, match="402 INSUFFICIENT_CREDITS: told so") as caught:
        client.hold("5")
    refusal = caught.value
    assert (refusal.status, refusal.code) == (402, "INSUFFICIENT_CREDITS")
    assert refusal.correlation_id == "corr-1"
    assert refusal.fields["detail"] == "told so"


def test_a_try_that_is_not_answered_is_repeated_under_the_same_key(new_client: NewClient) -> None:
    api = StandIn(httpx2.ReadTimeout("slow"), problem(503, "DATABASE_UNAVAILABLE"), ok(HOLD))
    assert new_client(api).hold("5").id == "hold_1"
    assert len({request.headers["idempotency-key"] for request in api.requests}) == 1


def test_a_stored_request_whose_result_cannot_be_read_is_repeated_under_its_key(
    new_client: NewClient,
) -> None:
    stored = {"status": "accepted", "subjects": ["bill_1"], "detail": "repeat the request"}
    api = StandIn(httpx2.Response(202, json=stored), ok(RECORD))
    paid = new_client(api).process("bill_1", billing_method="payment_charge")
    assert paid.billing_status == "completed"
    assert len({request.headers["idempotency-key"] for request in api.requests}) == 1
    api = StandIn(*[httpx2.Response(202, json=stored)] * 4)
    with pytest.raises(BillingUnreachable, match="stored"):
        new_client(api).process("bill_1")
    assert pause_seconds(BillingUnreachable("stored", retry_after_seconds=2), 0) == 2


def test_a_use_that_nothing_could_pay_now_has_its_cost(new_client: NewClient) -> None:
    api = StandIn(ok(QUOTE | {"currency": "USD", "suggested_billing_method": None}))
    quote = new_client(api).calculate("gpt-4", 1000)
    assert quote.total_cost == 2
    assert quote.suggested_billing_method is None


def test_after_four_tries_the_caller_hears_that_nothing_is_known(new_client: NewClient) -> None:
    api = StandIn(*[httpx2.ConnectError("down")] * 9)
    with pytest.raises(BillingUnreachable, match="down"):
        new_client(api).balance()
    assert len(api.requests) == 4


def test_a_breached_quota_is_not_knocked_at_again(new_client: NewClient) -> None:
    api = StandIn(problem(429, "QUOTA_EXCEEDED", **{"Retry-After": "9"}))
    with pytest.raises(BillingProblem) as caught:
        new_client(api).record_now(1, product_id="gpt-4")
    assert caught.value.retry_after_seconds == 9
    assert len(api.requests) == 1


def test_an_expired_token_is_made_anew(new_client: NewClient) -> None:
    tokens = iter(["old", "new"])
    api = StandIn(problem(401, "UNAUTHENTICATED"), ok(QUOTE))
    quote = new_client(api, token=lambda: next(tokens), account="shop-1").calculate("gpt-4", 1000)
    assert quote.total_cost == Decimal("2.00")
    assert [r.headers["authorization"] for r in api.requests] == ["Bearer old", "Bearer new"]
    assert api.requests[1].headers["x-account-id"] == "shop-1"


@pytest.mark.parametrize("token", ["t\n", lambda: "t\n"], ids=["fixed", "fresh"])
def test_a_token_may_end_as_the_line_of_its_file(new_client: NewClient, token: Token) -> None:
    api = StandIn(ok(QUOTE))
    new_client(api, token=token).calculate("gpt-4", 1000)
    assert api.requests[0].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize("bad", ["secret\x00", "secret\nsecret", "secret\u00e9", ""])
def test_a_token_that_no_header_can_carry_is_told_without_its_text(bad: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        client = BillingClient(url, bad, trust_env=False)
        with pytest.raises(BillingClientError, match="the token is not visible ASCII") as caught:
            client.balance()
        client.close()
    assert "secret" not in str(caught.value)


def test_a_hold_of_no_time_is_the_apis_to_refuse(new_client: NewClient) -> None:
    api = StandIn(problem(422, "VALIDATION_FAILED"))
    with pytest.raises(BillingProblem, match="422"):
        new_client(api).hold("5", expires_in_seconds=0)
    assert json.loads(api.requests[0].content)["expires_in_seconds"] == 0


def test_a_hold_is_spent_by_what_was_used(new_client: NewClient) -> None:
    api = StandIn(ok(HOLD), httpx2.ReadTimeout("slow"), ok(BILL))
    with new_client(api).hold("5") as hold:
        bill = hold.capture_usage("gpt-4", 1000, user_id="ann")
    assert bill.total_cost == 2
    assert paths(api) == ["holds", "record", "record"]
    first, again = (json.loads(request.content) for request in api.requests[1:])
    assert first == again, "the same use"
    assert (first["hold_id"], first["event_id"]) == ("hold_1", "hold/hold_1")
    assert (first["usage_amount"], first["product_id"], first["user_id"]) == (
        "1000",
        "gpt-4",
        "ann",
    )


@pytest.mark.parametrize("amount", ["5 credits", 0.0, "-0", Decimal("NaN")])
def test_what_is_no_amount_neither_spends_nor_releases_a_hold(
    new_client: NewClient, amount: Any
) -> None:
    api = StandIn(ok(HOLD))
    hold = new_client(api).hold("5")
    with pytest.raises(InvalidEvent, match=r"^amount: "):
        hold.capture(amount)
    assert paths(api) == ["holds"]


@pytest.mark.parametrize("amount", [0, "0", "0.00", Decimal("0E-3")])
def test_a_hold_of_which_nothing_is_spent_is_released(new_client: NewClient, amount: Any) -> None:
    api = StandIn(ok(HOLD), ok(HOLD | {"status": "released"}))
    assert new_client(api).hold("5").capture(amount) is None
    assert paths(api) == ["holds", "release"]


def test_a_refused_amount_has_the_name_that_the_caller_knows(new_client: NewClient) -> None:
    client = new_client(StandIn())
    with pytest.raises(InvalidEvent, match=r"^requested_amount: "):
        client.check_quota("0")
    for call in (client.hold, lambda amount: client.capture_hold("hold_1", amount)):
        with pytest.raises(InvalidEvent, match=r"^amount: "):
            call("0")


@pytest.mark.parametrize("row", [None, "recorded", {}, {"code": "BUSY"}])
def test_an_answer_without_a_verdict_for_a_row_is_none(new_client: NewClient, row: object) -> None:
    api = StandIn(*[ok({"results": [row]})] * 4)
    with pytest.raises(BillingUnreachable, match="no verdict for each row"):
        new_client(api).record_rows([b"{}"])


@pytest.mark.parametrize("name", ["account_id", "external_id"])
def test_a_call_names_an_account_of_its_own_in_the_header(new_client: NewClient, name: str) -> None:
    checked = {
        "allowed": True, "meter": "tokens", "limit": None, "used": "0", "remaining": None,
        "requested": "1", "soft_limit_reached": False, "resets_at": None, "reason": None,
    }  # fmt: skip
    api = StandIn(ok(BILL), ok(checked), ok(QUOTE))
    client = new_client(api, account="shop-1")
    named: Any = {name: "shop-2", "product_id": "gpt-4"}
    client.record_now(1, **named)
    client.check_quota(1, **named)
    client.calculate("gpt-4", 1)
    headers = [request.headers["x-account-id"] for request in api.requests]
    assert headers == ["shop-2", "shop-2", "shop-1"]
    assert not any(name in json.loads(request.content) for request in api.requests)


def test_a_call_names_one_account(new_client: NewClient) -> None:
    client = new_client(StandIn())
    with pytest.raises(InvalidEvent, match="not by both"):
        client.record_now(1, product_id="gpt-4", account_id="acc_1", external_id="shop-2")


def test_a_use_dearer_than_its_hold_is_recorded_all_the_same(new_client: NewClient) -> None:
    released = ok(HOLD | {"status": "released"})
    api = StandIn(ok(HOLD), problem(422, "HOLD_EXCEEDED"), released, ok(BILL))
    with new_client(api).hold("1.5") as hold:
        hold.capture_usage("gpt-4", 1000)
    assert paths(api) == ["holds", "record", "release", "record"]
    sent = json.loads(api.requests[-1].content)
    assert ("hold_id" in sent, sent["on_insufficient"]) == (False, "defer")


def test_a_use_dearer_than_its_hold_is_repeated_without_it(new_client: NewClient) -> None:
    released = ok(HOLD | {"status": "released"})
    lost = [httpx2.ReadTimeout("slow")] * 4
    api = StandIn(ok(HOLD), problem(422, "HOLD_EXCEEDED"), released, *lost, ok(BILL))
    with new_client(api).hold("1.5") as hold:
        with pytest.raises(BillingUnreachable):
            hold.capture_usage("gpt-4", 1000)
        hold.capture_usage("gpt-4", 1000)
    assert paths(api) == ["holds", "record", "release", *["record"] * 5]
    uses = [json.loads(request.content) for request in api.requests[3:]]
    assert all("hold_id" not in use for use in uses)
    assert len({use["event_id"] for use in uses}) == 1


def test_a_use_dearer_than_its_hold_is_recorded_though_the_hold_has_ended(
    new_client: NewClient,
) -> None:
    """The release was refused at every repeat, and the use recorded by none."""
    ended = problem(409, "HOLD_RESOLVED")
    lost = [httpx2.ReadTimeout("slow")] * 4
    api = StandIn(ok(HOLD), problem(422, "HOLD_EXCEEDED"), *lost, ended, ok(BILL))
    with new_client(api).hold("1.5") as hold:
        with pytest.raises(BillingUnreachable):
            hold.capture_usage("gpt-4", 1000)
        hold.capture_usage("gpt-4", 1000)
    assert paths(api) == ["holds", "record", *["release"] * 5, "record"]
    assert "hold_id" not in json.loads(api.requests[-1].content)


def test_a_use_nobody_answered_is_not_released(new_client: NewClient) -> None:
    api = StandIn(ok(HOLD), *[httpx2.ReadTimeout("slow")] * 4)
    with pytest.raises(BillingUnreachable), new_client(api).hold("5") as hold:
        hold.capture_usage("gpt-4", 1000)
    assert paths(api) == ["holds", *["record"] * 4]


def test_work_that_fails_or_is_refused_frees_its_hold(new_client: NewClient) -> None:
    released = ok(HOLD | {"status": "released"})
    api = StandIn(ok(HOLD), released, ok(HOLD), problem(429, "QUOTA_EXCEEDED"), released)
    client = new_client(api)
    with pytest.raises(ZeroDivisionError), client.hold("5"):
        _ = 1 / 0
    with pytest.raises(BillingProblem), client.hold("5") as hold:
        hold.capture_usage("gpt-4", 1000)
    assert paths(api) == ["holds", "release", "holds", "record", "release"]


def test_a_capture_nobody_answered_is_not_released(new_client: NewClient) -> None:
    api = StandIn(ok(HOLD), *[httpx2.ReadTimeout("slow")] * 4)
    with pytest.raises(BillingUnreachable), new_client(api).hold("5") as hold:
        hold.capture("2")
    assert paths(api) == ["holds", *["capture"] * 4]


def test_a_capture_that_was_never_begun_frees_its_hold(new_client: NewClient) -> None:
    released = ok(HOLD | {"status": "released"})
    for refused in (
        [problem(429, "RATE_LIMITED")] * 4, [problem(429, "RATE_LIMITED", **{"Retry-After": "60"})],
    ):  # fmt: skip
        api = StandIn(ok(HOLD), *refused, released)
        with pytest.raises(BillingProblem) as caught, new_client(api).hold("5") as hold:
            hold.capture("2")
        assert not caught.value.outcome_unknown
        assert paths(api) == ["holds", *["capture"] * len(refused), "release"]
    api = StandIn(ok(HOLD), *[problem(429, "RATE_LIMITED")] * 4, released)
    with pytest.raises(BillingProblem), new_client(api).hold("5") as hold:
        hold.capture_usage("gpt-4", 1000)
    assert paths(api)[-1] == "release"


@pytest.mark.parametrize("lost", [httpx2.ReadTimeout("slow"), problem(503, "UNAVAILABLE")])
def test_a_capture_that_was_lost_before_it_came_too_soon_is_not_released(
    new_client: NewClient, lost: httpx2.Response | Exception
) -> None:
    api = StandIn(ok(HOLD), lost, *[problem(429, "RATE_LIMITED")] * 3)
    with pytest.raises(BillingProblem) as caught, new_client(api).hold("5") as hold:
        hold.capture("2")
    assert caught.value.outcome_unknown
    assert paths(api) == ["holds", *["capture"] * 4]


def test_a_hold_that_cannot_be_freed_hides_no_error_of_the_work(new_client: NewClient) -> None:
    api = StandIn(ok(HOLD), problem(404, "HOLD_NOT_FOUND"))
    with pytest.raises(KeyError, match="work"), new_client(api).hold("5"):
        raise KeyError("work")

"""A body that is not declared as JSON is refused by the name of that header, on every route."""

from uuid import uuid4

import pytest

from tests.integration.actors import API, Actors

FORM = "application/x-www-form-urlencoded"
ERROR = {"field": "content-type", "message": "must be application/json"}


@pytest.mark.parametrize("declared", [FORM, "text/json", "text/plain", None])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/billing/purchases", b'{"pack": "small"}'),
        ("/usage/record", b'{"product_id": "gpt-4", "usage_amount": "1"}'),
        ("/usage/batch", b'{"events": [{"product_id": "gpt-4", "usage_amount": "1"}]}'),
        ("/billing/subscription/cancel", b'{"at": "now"}'),
        ("/billing/subscription/pause", b"{}"),
    ],
)
async def test_a_body_not_declared_as_json_is_told_so(
    actors: Actors, path: str, body: bytes, declared: str | None
) -> None:
    customer = await actors.customer()
    headers = actors.headers(customer.id, "billing") | {"Idempotency-Key": str(uuid4())}
    headers |= {} if declared is None else {"Content-Type": declared}
    answer = await actors.client.post(f"{API}{path}", content=body, headers=headers)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "VALIDATION_FAILED"), told
    assert (told["detail"], told["errors"]) == ("content-type: must be application/json", [ERROR])


@pytest.mark.parametrize("declared", ["application/json; charset=utf-8", "application/ld+json"])
async def test_every_form_of_json_is_read(actors: Actors, declared: str) -> None:
    customer = await actors.customer()
    headers = actors.headers(customer.id, "billing") | {"Content-Type": declared}
    body = b'{"product_id": "gpt-4", "usage_amount": "1"}'
    answer = await actors.client.post(f"{API}/billing/calculate", content=body, headers=headers)
    assert answer.status_code == 200, answer.text

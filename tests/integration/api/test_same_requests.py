"""A key stands for what is asked, in whatever form it is sent."""

from uuid import uuid4

import pytest

from tests.integration.actors import API, Actors

RECONCILE = f"{API}/billing/reconcile"
WINDOW = {"since_at": "2020-01-01T00:00:00Z", "until_at": "2020-01-02T00:00:00Z"}


@pytest.mark.parametrize("order", [1, -1])
async def test_a_body_left_out_and_an_empty_one_are_the_same_request(
    actors: Actors, order: int
) -> None:
    customer = await actors.customer()
    headers = actors.headers(customer.id, "billing") | {"Content-Type": "application/json"}
    headers |= {"Idempotency-Key": "k"}
    first, second = [
        await actors.client.post(f"{API}/billing/trials", content=body, headers=headers)
        for body in (b"", b"{}")[::order]
    ]
    assert (first.status_code, second.status_code) == (201, 201), second.text
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_a_key_may_stand_in_the_header_or_in_the_body(actors: Actors) -> None:
    """It is no part of what is asked, if a route takes it in either."""
    headers, key = actors.headers("*", "admin"), str(uuid4())
    body = {"acknowledge": True} | WINDOW
    named = body | {"idempotency_key": key}
    first = await actors.client.post(RECONCILE, json=named, headers=headers)
    assert first.status_code in (200, 202), first.text
    keyed = headers | {"Idempotency-Key": key}
    second = await actors.client.post(RECONCILE, json=body, headers=keyed)
    assert second.json().get("run_id") == first.json()["run_id"], second.text

"""Pools fit into Postgres, and steps into their pool; what does not is said in one sentence."""

from billing.core.connections import shortage, slots
from worker import MAX_STEPS


def test_what_fits_is_not_told() -> None:
    assert shortage(4, 160, 160) is None


def test_what_does_not_fit_is_one_sentence() -> None:
    assert shortage(1, 40, 37) == (
        "the pools of 1 process may take 40 connections, but Postgres allows 37:"
        " raise max_connections or lower BILLING_DATABASE_POOL_SIZE"
    )


def test_every_step_of_a_worker_has_a_connection() -> None:
    for size in range(2, 40):
        found = slots(MAX_STEPS, size)
        assert sum(found.values()) <= size, f"{found} steps on {size} connections"
        assert min(found.values()) >= 1
    assert slots(MAX_STEPS, 20) == MAX_STEPS, "as delivered"

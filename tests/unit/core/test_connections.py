"""Pools fit into Postgres; what does not is said in one sentence."""

from billing.core.connections import shortage


def test_what_fits_is_not_told() -> None:
    assert shortage(4, 160, 160) is None


def test_what_does_not_fit_is_one_sentence() -> None:
    assert shortage(1, 40, 37) == (
        "the pools of 1 process may take 40 connections, but Postgres allows 37:"
        " raise max_connections or lower BILLING_DATABASE_POOL_SIZE"
    )

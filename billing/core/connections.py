"""Arithmetic of connections: what the pools of all processes may take must fit what Postgres gives.

A pool opens a connection when it needs one, so a server that is too small serves until it is busy.
"""

from collections.abc import Mapping


def shortage(processes: int, wanted: int, given: int) -> str | None:
    """The sentence for an operator where they do not fit."""
    if wanted <= given:
        return None
    return (
        f"the pools of {processes} process{'es' if processes > 1 else ''} may take {wanted}"
        f" connections, but Postgres allows {given}: raise max_connections or lower"
        " BILLING_DATABASE_POOL_SIZE"
    )


def slots(most: Mapping[str, int], pool_size: int) -> dict[str, int]:
    """Steps at once of each queue, in their shares: no more in all than the pool is large."""
    whole = sum(most.values())
    if pool_size >= whole:
        return dict(most)
    return {name: max(1, count * pool_size // whole) for name, count in most.items()}

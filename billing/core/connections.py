"""Connection arithmetic: the pools of all processes must fit into Postgres's limit.

A pool opens connections on demand, so a server that is too small fails only when it is busy.
"""

from collections.abc import Mapping


def shortage(processes: int, wanted: int, given: int) -> str | None:
    """Return a sentence for the operator if the pools do not fit."""
    if wanted <= given:
        return None
    return (
        f"the pools of {processes} process{'es' if processes > 1 else ''} may take {wanted}"
        f" connections, but Postgres allows {given}: raise max_connections or lower"
        " BILLING_DATABASE_POOL_SIZE"
    )


def slots(most: Mapping[str, int], pool_size: int) -> dict[str, int]:
    """Scale each queue's concurrent steps, so that together they fit into the pool."""
    whole = sum(most.values())
    if pool_size >= whole:
        return dict(most)
    return {name: max(1, count * pool_size // whole) for name, count in most.items()}

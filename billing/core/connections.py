"""Connection arithmetic: the pools of all processes must fit into Postgres's limit.

A pool opens connections on demand, so a server that is too small fails only when it is busy.
"""


def shortage(processes: int, wanted: int, given: int) -> str | None:
    """Return a sentence for the operator if the pools do not fit."""
    if wanted <= given:
        return None
    return (
        f"the pools of {processes} process{'es' if processes > 1 else ''} may take {wanted}"
        f" connections, but Postgres allows {given}: raise max_connections or lower"
        " BILLING_DATABASE_POOL_SIZE"
    )

"""Time of the machine, and of one customer.

A customer made with a test clock is at that clock's frozen time; all others are at real time.
"""

import time

from sandbox.store import Store


def real() -> float:
    """Return seconds since 1970 on this machine: keys, deliveries and signatures use it."""
    return time.time()


def now(store: Store, customer: str | None = None) -> int:
    """Return the customer's time in whole seconds, the `created` of its objects."""
    if customer:
        found = store.row(
            "SELECT json_extract(clock.body, '$.frozen_time') AS frozen FROM objects AS person"
            " JOIN objects AS clock ON clock.id = json_extract(person.body, '$.test_clock')"
            " WHERE person.id = ?",
            customer,
        )
        if found:
            return int(found["frozen"])
    return int(real())

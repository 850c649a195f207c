"""Time of the machine, and of one customer.

A customer made with a test clock lives at that clock's frozen time; everybody else lives now.
"""

import time

from sandbox.store import Store


def real() -> float:
    """Seconds since 1970 on this machine: keys, deliveries and signatures use it."""
    return time.time()


def now(store: Store, customer: str | None = None) -> int:
    """The customer's time, in whole seconds: every `created` of its objects."""
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

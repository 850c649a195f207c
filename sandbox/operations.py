"""Every operation the sandbox offers, in the order paths are tried.

A new resource is one module and one line here.
"""

from sandbox.calls import Operation
from sandbox.resources import (
    balance_transactions,
    charges,
    checkout_sessions,
    customers,
    disputes,
    payment_intents,
    payment_methods,
    portal_sessions,
    refunds,
    setup_intents,
    stored_events,
    tax_calculations,
    test_clocks,
)

OPERATIONS: tuple[Operation, ...] = tuple(
    operation
    for resource in (
        payment_intents,
        customers,
        payment_methods,
        setup_intents,
        checkout_sessions,
        portal_sessions,
        charges,
        refunds,
        balance_transactions,
        stored_events,
        disputes,
        tax_calculations,
        test_clocks,
    )
    for operation in resource.routes.operations
)

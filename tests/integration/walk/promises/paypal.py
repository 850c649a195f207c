"""PayPal: an order is taken once, booked as it came, and never after it was given up."""

from collections.abc import Iterator

from tests.integration.walk.evidence import Case


def taken_once(case: Case) -> Iterator[str]:
    """One capture at most, of the payment's amount, and none of what was given up."""
    for order in case.orders:
        if not order.captures:
            continue
        if order.payment is None:
            yield f"order {order.id} took {order.taken}, and no payment knows of it"
            continue
        booked = order.payment["received_minor"]
        if order.captures > 1 or order.taken != booked:
            yield f"order {order.id} took {order.taken} in {order.captures}, booked is {booked}"
        if order.payment["status"] == "canceled":
            yield f"order {order.id} took {order.taken} after it was given up"

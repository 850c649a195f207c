"""Corrections that an operator makes of an invoice in a random life."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from random import Random
from typing import Final

from billing.money.invoice_requests import corrections
from billing.money.invoice_requests.corrections import Destination

DESTINATIONS: Final[tuple[Destination, ...]] = ("debt", "balance")


def correction(dice: Random, now: datetime) -> Callable[..., None]:
    """Void the invoice, give it up, or take back a part of it, or its tax."""
    credit = partial(
        corrections.credit,
        amount=dice.choice((1, 700, 9000)),
        lines=(),
        reason="sorry",
        to=dice.choice(DESTINATIONS),
        suffix=f"note-{now}",
        tries=True,
    )
    void = partial(corrections.void, reason="wrong")
    lost = partial(corrections.mark_uncollectible, reason="lost")
    tax = partial(corrections.credit_tax, country="AT", reason="proven", suffix="reverse-charge")
    return dice.choice((void, lost, credit, tax))

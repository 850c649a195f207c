"""Refusals of webhook deliveries that cannot be verified."""

from typing import Final

from billing.core.errors import Invalid

CODE: Final = "INVALID_SIGNATURE"


class Stranger(Invalid):
    """The refusal of a delivery that anybody could send: no sign of wrong settings on our side."""


def refused(why: str) -> Invalid:
    """Return the refusal of a delivery that may be the provider's."""
    return Invalid(CODE, _words(why))


def stranger(why: str) -> Stranger:
    """Return the refusal of a delivery that is not from the provider."""
    return Stranger(CODE, _words(why))


def _words(why: str) -> str:
    return f"webhook refused: {why}"

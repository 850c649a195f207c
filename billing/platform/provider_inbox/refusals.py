"""The refusals of an event that is not its provider's."""

from typing import Final

from billing.core.errors import Invalid

CODE: Final = "INVALID_SIGNATURE"


class Stranger(Invalid):
    """The refusal of what anybody can send: it tells nothing of the provider or our settings."""


def refused(why: str) -> Invalid:
    """The refusal of a delivery that may be the provider's."""
    return Invalid(CODE, _words(why), status=400)


def stranger(why: str) -> Stranger:
    """The refusal of a delivery that is nobody's."""
    return Stranger(CODE, _words(why), status=400)


def _words(why: str) -> str:
    return f"webhook refused: {why}"

"""What a provider's answers say of our key: that it is refused, or lacks a right, or is taken."""

from collections.abc import Hashable
from http import HTTPStatus


class KeyRights:
    """Notes the answers to the calls with one key; a right is to make calls of one sort."""

    def __init__(self) -> None:
        self._is_unknown = False
        self._lacks: set[Hashable] = set()

    @property
    def refuses_key(self) -> bool:
        """Return True if the last answer that says something of our key was 401, or the last one to
        a call of some right 403.
        """
        return self._is_unknown or bool(self._lacks)

    def note_unknown(self) -> None:
        """Note that the provider does not know the key, as it says before any call of a right."""
        self._is_unknown = True

    def note(self, right: Hashable, status: int) -> None:
        """Note what the answer to a call of this right says.

        Trouble at the provider says nothing: a lost right stays lost through an outage.
        """
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return
        self._is_unknown = status == HTTPStatus.UNAUTHORIZED
        if status == HTTPStatus.FORBIDDEN:
            self._lacks.add(right)
        elif status != HTTPStatus.UNAUTHORIZED:
            self._lacks.discard(right)

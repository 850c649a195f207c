"""A provider's answers about our key: it is refused, lacks a right, or is another's."""

from collections.abc import Hashable
from http import HTTPStatus
from time import monotonic
from typing import Final

MOST_OBJECTS: Final = 100
"""Any one of them says as much as all."""
ASKED_AGAIN_SECONDS: Final = 7_200.0
"""A halted matter asks each hour for what it needs: nobody needs an object any more that was not
asked for in so long, such as one of test data that somebody deleted.
"""


class KeyRights:
    """Notes the answers to the calls with one key; a right is to make calls of one sort."""

    def __init__(self) -> None:
        self._is_unknown = False
        self._lacks: set[Hashable] = set()
        self._unknown_objects: dict[str, float] = {}  # when each was last asked for

    @property
    def refuses_key(self) -> bool:
        """Return True if the last answer that says something of our key was 401, or the last one to
        a call of some right 403, or the last one about some object of ours that there is none.
        """
        return self._is_unknown or bool(self._lacks) or self.unknown_object is not None

    @property
    def unknown_object(self) -> str | None:
        """Return an object of ours that the provider does not know under this key, of those that
        are still asked for.
        """
        since = monotonic() - ASKED_AGAIN_SECONDS
        self._unknown_objects = {
            name: asked_at for name, asked_at in self._unknown_objects.items() if asked_at > since
        }
        return min(self._unknown_objects, default=None)

    def note_unknown(self) -> None:
        """Note that the provider does not know the key, as it says before any call of a right."""
        self._is_unknown = True

    def note_object(self, object_id: str, *, is_known: bool) -> None:
        """Note whether the provider knows an object that a row of ours names.

        Under another account's key it makes and knows new ones: they say nothing of this one.
        """
        if is_known:
            self._unknown_objects.pop(object_id, None)
        elif object_id in self._unknown_objects or len(self._unknown_objects) < MOST_OBJECTS:
            self._unknown_objects[object_id] = monotonic()

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

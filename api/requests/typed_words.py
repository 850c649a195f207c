"""The word that a page asks its user to type before a sensitive change [K8].

It is sent in the body, the query or the header `X-Confirm`. A bearer client need not send it; a
wrong word is refused.
"""

from typing import Annotated, Final, Literal

from fastapi import Depends, Header, Query

_AS_BODY: Final = "As `confirm` in the body"


async def _default(
    confirm: Annotated[Literal["DEFAULT"] | None, Query(description=_AS_BODY)] = None,
    x_confirm: Annotated[Literal["DEFAULT"] | None, Header(description=_AS_BODY)] = None,
) -> None:
    """Read both, so that a wrong word is refused."""


async def _delete(
    confirm: Annotated[Literal["DELETE"] | None, Query(description=_AS_BODY)] = None,
    x_confirm: Annotated[Literal["DELETE"] | None, Header(description=_AS_BODY)] = None,
) -> None:
    """Read both, so that a wrong word is refused."""


TYPED_DEFAULT: Final = Depends(_default)
"""`dependencies=[TYPED_DEFAULT]`: the route chooses a default."""

TYPED_DELETE: Final = Depends(_delete)
"""`dependencies=[TYPED_DELETE]`: the route removes something."""

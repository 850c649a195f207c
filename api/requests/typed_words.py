"""The word that a page asks its user to type before a sensitive change [K8].

It is sent in the body, the query or the header `X-Confirm`. A bearer client need not send it; a
wrong word is refused.
"""

from typing import Annotated, Final, Literal

from fastapi import Depends, Header, Query
from pydantic import Field, WithJsonSchema

_Default = Literal["DEFAULT"] | None
_Delete = Literal["DELETE"] | None
ConfirmDefault = Annotated[_Default, Field(description="DEFAULT, typed by the person")]
ConfirmDelete = Annotated[_Delete, Field(description="DELETE, typed by the person")]
_AS_BODY: Final = "As `confirm` in the body"


def _header(word: str) -> WithJsonSchema:
    """Document a header as a pattern: generated clients refuse a constant there."""
    return WithJsonSchema({"type": "string", "pattern": f"^{word}$"})


async def _default(
    confirm: Annotated[_Default, Query(description=_AS_BODY)] = None,
    x_confirm: Annotated[_Default, _header("DEFAULT"), Header(description=_AS_BODY)] = None,
) -> None:
    """Read both, so that a wrong word is refused."""


async def _delete(
    confirm: Annotated[_Delete, Query(description=_AS_BODY)] = None,
    x_confirm: Annotated[_Delete, _header("DELETE"), Header(description=_AS_BODY)] = None,
) -> None:
    """Read both, so that a wrong word is refused."""


TYPED_DEFAULT: Final = Depends(_default)
"""`dependencies=[TYPED_DEFAULT]`: the route chooses a default."""

TYPED_DELETE: Final = Depends(_delete)
"""`dependencies=[TYPED_DELETE]`: the route removes something."""

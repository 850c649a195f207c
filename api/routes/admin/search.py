"""Search, for operators: find any object by an identifier."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field

from api.answers.pagination import Page, as_page
from api.answers.problems import responses
from api.answers.public_ids import AccountId
from api.answers.schemas import Answer
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from billing.insight.search import store

router = new_router("search")


class FoundAnswer(Answer):
    """An object: `words` describe it, `matched` is the field that matched."""

    kind: str = Field(description="What it is")
    id: str = Field(description="Its id")
    account_id: AccountId | None
    words: str = Field(description="What it is, in words")
    status: str | None = Field(description="Its status; null: it has none")
    at: datetime = Field(description="When it was made or happened")
    matched: str = Field(description="The field that has what was searched for")


@router.get("/admin/search", responses=responses())
async def search(
    call: AdminCall,
    q: Annotated[
        FreeText,
        Query(
            description="An id of ours, Stripe or PayPal, a workflow id, the number of an"
            " invoice or credit note, a transfer reference, an e-mail address, the name or"
            " external id of an account. Exact; case matters except in addresses and names.",
            examples=["INV-000001"],
        ),
    ],
) -> Page[FoundAnswer]:
    """Find objects of all accounts by an identifier, newest first: 50 at most."""
    async with call.database.operator() as connection:
        return as_page(FoundAnswer.of(one) for one in await store.search(connection, q))

"""Search, for operators: everything that has a name which somebody tells."""

from datetime import datetime
from typing import Annotated

from fastapi import Query

from api.answers.problems import responses
from api.answers.public_ids import AccountId
from api.answers.schemas import Answer
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from billing.insight.search import store

router = new_router("search")


class FoundAnswer(Answer):
    """One thing: `words` describe it, `matched` is the field that has the name."""

    kind: str
    id: str
    account_id: AccountId | None
    words: str
    status: str | None
    at: datetime
    matched: str


class SearchAnswer(Answer):
    """All that was found, newest first: at most 50 things."""

    data: list[FoundAnswer]


@router.get("/admin/search", responses=responses())
async def search(
    call: AdminCall,
    q: Annotated[
        FreeText,
        Query(
            description="An id of ours or of Stripe or PayPal, a workflow id, the number of an"
            " invoice or credit note, a reference of a transfer, an e-mail address, the name or"
            " external id of an account. Whole; capitals count but in addresses and names.",
            examples=["INV-000001"],
        ),
    ],
) -> SearchAnswer:
    """All that has this name, over all accounts."""
    async with call.database.operator() as connection:
        return SearchAnswer(data=[FoundAnswer.of(one) for one in await store.search(connection, q)])

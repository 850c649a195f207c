"""Ways to save money, each with its figures [Q2]."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.answers.pagination import Page, whole
from api.answers.problems import responses
from api.answers.schemas import Answer, Total
from api.dependencies import Fresh, MemberRead
from api.routes.base import new_router
from billing.insight.recommendations import service

router = new_router("usage")


class CheaperPlanAnswer(Answer):
    """Another plan that would have cost `saving` less over the last `cycles` whole cycles.

    Costs are the plan's price and the overage of the used `units`, in whole units of `currency`.
    `gives_up` names features that the plan does not have or has less of; `credits` stands for fewer
    included credits.
    """

    kind: Literal["cheaper_plan"] = Field(description="Always `cheaper_plan`")
    plan: str
    current_plan: str = Field(description="The key of the plan that the account has")
    cycles: int = Field(description="How many whole cycles are compared")
    current_cost: Total = Field(
        description="What the present plan cost in them, in whole units of `currency`"
    )
    cost: Total = Field(
        description="What the other plan would have cost, in whole units of `currency`"
    )
    saving: Total = Field(description="The difference, in whole units of `currency`")
    currency: str
    gives_up: tuple[str, ...] = Field(
        description="The features that the other plan lacks or has less of; `credits`: fewer"
        " included credits",
    )
    units: dict[str, Total] = Field(description="The units used in these cycles, by meter")


class CreditsExpiringAnswer(Answer):
    """Credits that will expire within thirty days at `daily_use`, the recent mean per day."""

    kind: Literal["credits_expiring"] = Field(description="Always `credits_expiring`")
    lot_id: str
    left: Total = Field(description="The credits of the lot that are left")
    expiring: Total = Field(description="The part of them that will not be used in time")
    expires_at: datetime = Field(description="When they expire")
    daily_use: Total


Advice = Annotated[CheaperPlanAnswer | CreditsExpiringAnswer, Field(discriminator="kind")]


class RecommendationsAnswer(Page[Advice]):
    """All recommendations; empty when nothing would save money."""

    as_of: datetime


@router.get("/usage/recommendations", responses=responses())
async def read_usage_recommendations(
    call: MemberRead, fresh: Fresh = False
) -> RecommendationsAnswer:
    """A plan that would have been cheaper, and credits that will expire unused [Q2].

    None for an unknown account [A13].
    """
    async with call.reading(fresh=fresh) as connection:
        found, at = await service.advice(connection, call.account_id)
        behind = await call.database.lag(connection)
    return RecommendationsAnswer.model_validate(
        {"data": found, "pagination": whole(len(found)), "as_of": at - behind}
    )

"""Forecasts of usage and its cost [Q6]."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Literal, Self

from pydantic import Field

from api.answers.problems import responses
from api.answers.schemas import Answer, Total
from api.dependencies import Fresh, MemberRead
from api.routes.base import new_router
from billing.core.money import ZERO
from billing.insight.forecasts import rules, service
from billing.insight.forecasts.schemas import CycleForecast, Forecast

router = new_router("usage")


class ForecastAnswer(Answer):
    """The use so far, and the use expected at the end, with a range from low to high.

    `expected` and `high` are null without a whole day of history.
    """

    used: Total = Field(description="What is used so far")
    expected: Total | None = Field(
        description="What is expected at the end; null without a whole day of history"
    )
    low: Total = Field(description="The lower end of the range")
    high: Total | None = Field(
        description="The upper end of the range; null without a whole day of history"
    )

    @classmethod
    def of_forecast(cls, found: Forecast, **more: object) -> Self:
        """The forecast as callers see it."""
        known = {} if found.is_known else {"expected": None, "high": None}
        return cls.of(asdict(found), **more, **known)


class MeterForecast(ForecastAnswer):
    """The forecast of one meter; `expected_overage` is the part beyond the plan's `included`,
    `used_before` of which was used in the month before the cycle began.
    """

    included: Total | None
    used_before: Total
    expected_overage: Total | None = Field(
        description="The expected units beyond the plan; null: not known"
    )


class MoneyForecast(ForecastAnswer):
    """The overage on the next invoice, in whole units of a currency."""

    currency: str | None


class CostForecast(Answer):
    """The cost of uses in credits, and in money on the next invoice."""

    credits: ForecastAnswer = Field(description="The credits that uses cost")
    overage: MoneyForecast = Field(
        description="What the next invoice asks for use beyond the plan, in whole units"
    )


class OutlookAnswer(Answer):
    """The open cycle up to its end.

    `method` weekday_mean: each remaining day adds the mean of its weekday over the last
    `history_days` (at most 28) whole days, shrunk towards the mean of all days. `low` to `high`
    covers `confidence_percent` of outcomes if days vary as they did.
    """

    period_start: datetime
    period_end: datetime
    method: Literal["weekday_mean"] = Field(
        description="How it is computed: `weekday_mean` adds the mean of its weekday for each day"
        " to come",
    )
    confidence_percent: int
    history_days: int
    meters: dict[str, MeterForecast] = Field(description="The forecast of each meter")
    cost: CostForecast = Field(description="The forecast of the cost")
    as_of: datetime

    @classmethod
    def of_outlook(cls, found: CycleForecast, as_of: datetime) -> Self:
        """The outlook as callers see it."""
        money = MoneyForecast.of_forecast(found.money, currency=found.currency)
        return cls(
            period_start=found.start_at,
            period_end=found.end_at,
            method=rules.METHOD,
            confidence_percent=rules.CONFIDENCE_PERCENT,
            history_days=found.history_days,
            meters={
                key: _meter(forecast, found.included.get(key))
                for key, forecast in found.meters.items()
            },
            cost=CostForecast(credits=ForecastAnswer.of_forecast(found.credits), overage=money),
            as_of=as_of,
        )


@router.get("/usage/forecast", responses=responses())
async def read_usage_forecast(call: MemberRead, fresh: Fresh = False) -> OutlookAnswer:
    """Each meter and the cost, forecast for the end of the open cycle [Q6]."""
    async with call.reading(fresh=fresh) as connection:
        found = await service.outlook(connection, call.account_id)
        behind = await call.database.lag(connection)
    return OutlookAnswer.of_outlook(found, found.at - behind)


def _meter(forecast: Forecast, allowance: tuple[Decimal, Decimal] | None) -> MeterForecast:
    included, used_before = allowance or (None, ZERO)
    over = None
    if included is not None and forecast.is_known:
        over = max(ZERO, forecast.expected - (included - used_before))
    return MeterForecast.of_forecast(
        forecast, included=included, used_before=used_before, expected_overage=over
    )

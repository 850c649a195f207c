"""Deliveries of webhooks that are refused, or that never come, are a sign."""

from datetime import timedelta

import pytest

from billing.insight.health.rules import UNCOUNTED, signs
from billing.platform.processes.schemas import Deliveries
from billing.platform.processes.schemas import Figures as Own
from tests.unit.health.test_signs import NOW, figures, process, unhealthy, waiting


def told(outcome: str, seconds: float, count: int = 1) -> Deliveries:
    """Deliveries of Stripe with this outcome, the last so many seconds ago."""
    last = NOW - timedelta(seconds=seconds)
    return Deliveries(provider="stripe", outcome=outcome, count=count, last_at=last)


@pytest.mark.parametrize(
    ("deliveries", "is_unhealthy"),
    [
        ((told("INVALID_SIGNATURE", 60),), True),
        ((told("INVALID_SIGNATURE", 60), told("taken", 90)), True),
        ((told("INVALID_SIGNATURE", 60), told("taken", 30)), False),
        ((told("INVALID_SIGNATURE", 3_601),), False),
        ((told("stranger", 60),), False),
    ],
)
def test_deliveries_are_ill_while_a_process_refuses_the_last_ones(
    deliveries: tuple[Deliveries, ...], is_unhealthy: bool
) -> None:
    """Deliveries that another process takes hide nothing: each has its own secret."""
    one = process(10, "api", figures=Own(deliveries=deliveries))
    other = process(11, "api", figures=Own(deliveries=(told("taken", 1),)))
    found = unhealthy(figures(one, other))
    assert ("webhooks" in found) is is_unhealthy, found
    if is_unhealthy:
        assert found["webhooks"].startswith(
            "api 10 on one refused 1 of stripe as INVALID_SIGNATURE"
        )


def test_a_process_that_is_gone_refuses_no_more_deliveries() -> None:
    gone = process(10, "api", seen=31, figures=Own(deliveries=(told("INVALID_SIGNATURE", 60),)))
    assert "webhooks" not in unhealthy(figures(gone, process(11, "api")))


@pytest.mark.parametrize(("count", "seconds"), [(2, 600), (3, 119)])
def test_a_few_events_without_a_webhook_and_young_ones_are_no_sign(
    count: int, seconds: float
) -> None:
    assert unhealthy(waiting("unsent", seconds, count)) == {}


def test_events_that_the_poll_alone_finds_say_that_the_provider_delivers_none() -> None:
    words = "Stripe delivers none: the poll alone found its last 3 events"
    assert unhealthy(waiting("unsent", 121, 3)) == {"webhooks": words}


def test_one_capture_of_which_paypal_tells_nothing_is_a_sign() -> None:
    words = "PayPal told nothing of captures: first; second"
    assert unhealthy(waiting("unsent_paypal", 3_601)) == {"webhooks": words}


@pytest.mark.parametrize("name", ["unsent", "unsent_paypal"])
def test_deliveries_that_could_not_be_counted_are_not_known(name: str) -> None:
    (sign,) = (one for one in signs(figures(uncounted=(name,))) if one.name == "webhooks")
    assert (sign.state, sign.words) == ("unknown", UNCOUNTED)

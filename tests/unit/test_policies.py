"""The numbers of the profiles, held to what they promise: no stack of the tests has DEFAULT."""

from datetime import timedelta
from itertools import accumulate, repeat

import pytest
from temporalio.common import RetryPolicy

from billing.core.transaction_settings import CYCLE_STATEMENT_MS
from gateways.provider import CALL_SECONDS
from workflows.policies import DEFAULT, TEST, Policies, pause_after_refusals


def length(one_round: RetryPolicy) -> timedelta:
    """The pauses between the tries of a round, together."""
    longest = one_round.maximum_interval or timedelta.max
    pauses = accumulate(
        repeat(one_round.backoff_coefficient, one_round.maximum_attempts - 2),
        lambda pause, factor: min(pause * factor, longest),
        initial=one_round.initial_interval,
    )
    return sum(pauses, timedelta())


def test_a_step_calls_a_provider_twice_before_its_time_is_over() -> None:
    """To make the customer and the payment, or the payment and its try."""
    assert timedelta(seconds=2 * CALL_SECONDS) < DEFAULT.step_timeout


def test_a_statement_that_may_change_a_whole_cycle_ends_before_its_step_does() -> None:
    """With the call that follows it: a try that is over in mid-call leaves a charge in doubt."""
    longest = timedelta(milliseconds=CYCLE_STATEMENT_MS, seconds=CALL_SECONDS)
    assert longest < DEFAULT.step_timeout


def test_a_round_tries_for_half_an_hour_before_its_matter_halts() -> None:
    assert timedelta(minutes=25) < length(DEFAULT.round) < timedelta(minutes=35)


@pytest.mark.parametrize("policies", [DEFAULT, TEST], ids=["default", "test"])
def test_what_is_noticed_first_is_the_shorter(policies: Policies) -> None:
    assert policies.walk_heartbeat < policies.walk_timeout
    assert policies.left_behind < policies.overdue
    assert policies.step_timeout < policies.halt_pause


def test_a_step_that_its_worker_refuses_is_tried_ever_more_rarely() -> None:
    """A worker whose clock is ten minutes behind took six events and a decision each second."""
    pauses = [pause_after_refusals(times).seconds for times in (1, 2, 3, 6, 7, 10_000)]
    assert pauses == [1, 2, 4, 32, 60, 60]

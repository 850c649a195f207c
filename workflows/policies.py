"""Timeouts and retries of every class of call, named, with one short set for tests.

A round of a step is as many tries as fit into half an hour; then the matter is halted, visible, and
retried hourly. Tries are counted, not minutes: time without a worker does not count against the
matter, and Temporal needs no extra timer per step.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio.common import RetryPolicy, VersioningBehavior

from billing.core.profile import TEST_PROFILE

BACKOFF: Final = 2.0
"""The factor between a pause of a round and the next one."""


@dataclass(frozen=True)
class Policies:
    """The numbers of one profile."""

    step_timeout: timedelta
    """Limit of one try of a step; the next try queries the provider first."""
    round_tries: int
    """The tries of one round; afterwards the matter is halted."""
    first_retry: timedelta
    slowest_retry: timedelta
    halt_pause: timedelta
    walk_timeout: timedelta
    """One move of a test clock."""
    walk_heartbeat: timedelta
    """A walker that is silent for this long is dead, and another one goes on."""
    sticky_timeout: timedelta
    """Time a workflow waits for the worker that caches it before any other worker takes it."""
    patient_sticky_timeout: timedelta
    """The same where no caller waits: timers due at once queue up before the worker they know."""
    sweep_every: timedelta
    poll_every: timedelta
    sweep_heartbeat: timedelta
    """A sweep that is silent for this long is lost with its worker, and is started again."""
    left_behind: timedelta
    """Age at which the sweeper takes over an unhandled event, or a matter not yet read."""
    overdue: timedelta
    """Delay of a step after which its matter is notified again."""

    @property
    def retry(self) -> RetryPolicy:
        """Return the policy that retries without limit, except errors marked as not retryable."""
        return self._retry(tries=0)

    @property
    def round(self) -> RetryPolicy:
        """Return the policy of one round of a step."""
        return self._retry(self.round_tries)

    @property
    def once(self) -> RetryPolicy:
        """Return the policy of a single try."""
        return self._retry(1)

    def pause_after(self, tries: int) -> timedelta:
        """Return the pause after so many failed tries of a round."""
        return min(self.first_retry * BACKOFF ** (tries - 1), self.slowest_retry)

    def _retry(self, tries: int) -> RetryPolicy:
        return RetryPolicy(
            initial_interval=self.first_retry,
            backoff_coefficient=BACKOFF,
            maximum_interval=self.slowest_retry,
            maximum_attempts=tries,
        )


DEFAULT = Policies(
    step_timeout=timedelta(seconds=20),
    round_tries=14,
    first_retry=timedelta(seconds=1),
    slowest_retry=timedelta(minutes=5),
    halt_pause=timedelta(hours=1),
    walk_timeout=timedelta(seconds=60),
    walk_heartbeat=timedelta(seconds=10),
    sticky_timeout=timedelta(seconds=10),
    patient_sticky_timeout=timedelta(seconds=30),
    sweep_every=timedelta(minutes=1),
    poll_every=timedelta(minutes=5),
    sweep_heartbeat=timedelta(seconds=10),
    left_behind=timedelta(seconds=60),
    overdue=timedelta(minutes=2),
)
TEST = Policies(
    step_timeout=timedelta(seconds=4),
    round_tries=26,
    first_retry=timedelta(milliseconds=100),
    slowest_retry=timedelta(seconds=2),
    halt_pause=timedelta(hours=1),
    walk_timeout=timedelta(seconds=30),
    walk_heartbeat=timedelta(seconds=3),
    sticky_timeout=timedelta(seconds=1),
    patient_sticky_timeout=timedelta(seconds=1),
    sweep_every=timedelta(seconds=4),
    poll_every=timedelta(seconds=10),
    sweep_heartbeat=timedelta(seconds=3),
    left_behind=timedelta(seconds=3),
    overdue=timedelta(seconds=10),
)
ANSWER_WITHIN: Final = timedelta(seconds=12)
"""An update that waits for a delayed step is answered by then: just after the API's requests have
given up.
"""
REFUSED_HERE: Final = 3
"""Refusals of a due step by one worker, whose clock is behind, before any worker may do it."""


def pause_after_refusals(times: int) -> timedelta:
    """Return the pause after so many refusals of a due step in a row: it doubles up to a minute."""
    return timedelta(seconds=min(2 ** (times - 1), 60))


# Read once per worker process.
POLICIES = TEST if TEST_PROFILE else DEFAULT
SWEEP_TIMEOUT = timedelta(minutes=5)
# Limits of a full pass, and of its silence: a large account takes minutes.
PASS_TIMEOUT = timedelta(hours=20)
PASS_HEARTBEAT = timedelta(minutes=5)
HALT_NOTE_TIMEOUT = timedelta(seconds=10)
# A busy server may count a task as started and never deliver it; it is then lost for this long. It
# must be retried while a caller still waits for an answer.
TASK_TIMEOUT = timedelta(seconds=2) if POLICIES is TEST else timedelta(seconds=5)
# A server refuses AUTO_UPGRADE from a worker that belongs to no deployment. No run is pinned to the
# build it began with, because it would be stuck once that build's last worker has stopped.
VERSIONED = bool(os.environ.get("BILLING_BUILD_ID"))
FOLLOWS_RELEASES = VersioningBehavior.AUTO_UPGRADE if VERSIONED else VersioningBehavior.UNSPECIFIED

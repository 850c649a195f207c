"""Failures of activities, as workflows see them."""

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)


def end_if_canceled(error: FailureError) -> None:
    """End the run if it was canceled during a step, as a canceled wait does: the next run goes on
    from the rows. Runs of earlier releases treated this as a failure of the step.
    """
    if is_cancelled_exception(error) and workflow.patched("a-cancellation-ends-the-run"):
        raise error


def cause_of(error: FailureError) -> BaseException:
    """Return the failure itself: an activity's is wrapped, a local activity's not always."""
    return (error.cause or error) if isinstance(error, ActivityError) else error


def is_final(error: FailureError) -> bool:
    """True if a repetition cannot help, as the activity says."""
    cause = cause_of(error)
    return isinstance(cause, ApplicationError) and cause.non_retryable


def refusal_of(error: ActivityError) -> ApplicationError:
    """Return the failure of a command, for its sender."""
    cause = error.cause
    kind = cause.type if isinstance(cause, ApplicationError) else None
    return ApplicationError(reason_of(error), type=kind or "ORDER_FAILED", non_retryable=True)


def reason_of(error: FailureError) -> str:
    """Return the failure in words, at most 500 characters."""
    return str(cause_of(error))[:500]

"""Committed work whose answer cannot be read: 202 with its ids, no 5xx (docs/rules/api.md)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, Literal

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from api.answers import problems
from api.answers.schemas import Answer
from api.pay.pay_actions import NextAction
from billing.matters.kinds import KINDS
from billing.matters.schemas import Named

_KEYED: Final = (
    "accepted, but its result cannot be read now: repeat the request with the same Idempotency-Key"
)
_KEYLESS: Final = (
    "accepted, but its result cannot be read now: read what `subjects` names. The request had no"
    " Idempotency-Key, so a repeat would be a new request"
)
_RETRY_SECONDS: Final = "2"


class AcceptedAnswer(Answer):
    """The request is stored and will be carried out; a part of the service went away meanwhile.

    `subjects` are the ids that it is about. The same `Idempotency-Key` gets the result; a request
    without one is not repeated.
    """

    status: Literal["accepted"] = Field(description="Always `accepted`")
    subjects: list[str] = Field(
        examples=[["inv_01h455vb4pex5vsknk084sn02q"]], description="The ids of what it is about"
    )
    detail: str = Field(examples=[_KEYED], description="What to do, in words")
    next_action: NextAction = Field(examples=[{"type": "wait"}])


class Accepted(Exception):
    """Raised instead of the failure that came after the commit."""

    def __init__(self, subjects: list[str], *, keyed: bool) -> None:
        super().__init__("committed, and not answered")
        self.subjects = subjects
        self.words = _KEYED if keyed else _KEYLESS


# A list, because a request's tasks share it.
_subjects: ContextVar[list[str] | None] = ContextVar("subjects", default=None)


def note(matter: Named) -> None:
    """Note that the request's work on this matter is committed; outside of a claim do nothing."""
    note_subject(KINDS[matter.kind].subject(matter.subject_id))


def note_subject(name: str) -> None:
    """Note what is committed by its id, if it is no matter; outside of a claim do nothing."""
    known = _subjects.get()
    if known is not None:
        known.append(name)


@asynccontextmanager
async def accepting(*, keyed: bool) -> AsyncIterator[None]:
    """Raise `Accepted` in place of an unavailable part's error once something is noted."""
    subjects: list[str] = []
    before = _subjects.set(subjects)
    try:
        yield
    except Exception as error:
        if subjects and problems.code_of(error) in problems.UNAVAILABLE:
            problems.log(error)
            raise Accepted(subjects, keyed=keyed) from error
        raise
    finally:
        _subjects.reset(before)


async def answer(_: Request, error: Accepted) -> Response:
    """Answer 202 with the ids, and with what the caller does next."""
    shown = AcceptedAnswer(
        status="accepted",
        subjects=list(dict.fromkeys(error.subjects)),
        detail=error.words,
        next_action={"type": "wait"},
    )
    headers = {"Retry-After": _RETRY_SECONDS}
    return Response(shown.model_dump_json(), 202, headers, media_type=problems.JSON)

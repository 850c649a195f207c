"""A matter as everybody sees it, pure: which workflow, whose, and the head of its agenda."""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from billing.core import ids
from billing.core.agenda import Step

Kind = Literal[
    "trial", "subscription", "purchase", "collection", "charge", "account", "clock"
]  # fmt: skip
# The order of two matters due at the same instant of one account's walk.
RANK: Final[dict[str, int]] = {
    "trial": 0, "subscription": 1, "collection": 2, "purchase": 3, "charge": 4, "account": 5,
}  # fmt: skip
# An account's workflow runs only while something of it is due this soon (its credits lapse, its
# cards are saved and removed); Postgres remembers the rest, and the sweeper wakes it in time.
REST_BEYOND: Final[dict[str, timedelta]] = {"account": timedelta(days=1)}
LOOK: Final = "load"
"""The step of a matter that must look at its rows first."""
PREFIX: Final[dict[str, str]] = {
    "trial": ids.ACCOUNT,
    "subscription": ids.SUBSCRIPTION,
    "purchase": ids.PURCHASE,
    "collection": ids.INVOICE,
    "charge": ids.BILLING_RECORD,
    "account": ids.ACCOUNT,
    "clock": ids.ACCOUNT,
}


class Matter(BaseModel):
    """A matter as started or found: which workflow, for whom, and the head of its agenda."""

    model_config = ConfigDict(frozen=True)

    workflow_id: str
    account_id: UUID
    kind: str
    subject_id: UUID
    status: str = "open"
    words: str = ""
    revision: int = 0
    head: Step | None = None
    correlation_id: str | None = None


def of_account(account_id: UUID) -> Matter:
    """The account's own matter, by name alone: to tell it that its rows changed."""
    return Matter(
        workflow_id=workflow_id("account", account_id),
        account_id=account_id,
        kind="account",
        subject_id=account_id,
    )


def rests(kind: str, due: datetime, now: datetime) -> bool:
    """Whether a matter of this kind needs no workflow for now."""
    beyond = REST_BEYOND.get(kind)
    return beyond is not None and due - now > beyond


def subject_of(workflow_id: str) -> UUID:
    """The row id of the subject that names a matter."""
    kind, _, subject = workflow_id.partition("/")
    return ids.decode(PREFIX[kind], subject)


def workflow_id(kind: str, subject_id: UUID) -> str:
    """`subscription/sub_01…`: one workflow per matter, named by its subject."""
    return f"{kind}/{ids.encode(PREFIX[kind], subject_id)}"

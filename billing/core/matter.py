"""A matter as everybody sees it, pure: which workflow, whose, and the head of its agenda."""

from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from billing.core import ids
from billing.core.agenda import Step

Kind = Literal["trial", "subscription", "purchase", "collection", "account", "clock"]
# The order of two matters due at the same instant of one account's walk.
RANK: Final[dict[str, int]] = {
    "trial": 0, "subscription": 1, "collection": 2, "purchase": 3, "account": 4,
}  # fmt: skip
LOOK: Final = "load"
"""The step of a matter that must look at its rows first."""
PREFIX: Final[dict[str, str]] = {
    "trial": ids.ACCOUNT,
    "subscription": ids.SUBSCRIPTION,
    "purchase": ids.PURCHASE,
    "collection": ids.INVOICE,
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


def workflow_id(kind: str, subject_id: UUID) -> str:
    """`subscription/sub_01…`: one workflow per matter, named by its subject."""
    return f"{kind}/{ids.encode(PREFIX[kind], subject_id)}"

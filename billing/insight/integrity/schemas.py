"""The findings of the integrity checks: one per check."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from billing.core.frozen import Frozen


class Check(Frozen):
    """An invariant that holds at every commit.

    `invariant` is its group, not the id of a requirement: I1 the ledger, I2 holds and lots, I3 what
    happens once and the money of payments, I4 usage, I5 states and their ends, I6 invoices and
    periods, I7 inbox, outbox and audit, I9 matters. Only those of cards have a requirement, [K3].
    """

    name: str = Field(description="The name of the check")
    invariant: str = Field(description="The group of the check")
    sentence: str = Field(description="What must be so")


class Finding(Check):
    """Result of one rule; `examples` are up to five external ids that break it."""

    ok: bool = Field(description="True if it is so")
    violations: int = Field(description="How many rows break it")
    examples: tuple[str, ...] = Field(description="Ids of up to five that do")

    @property
    def words(self) -> str:
        """Return the sentence, with the number of rows that break it."""
        return f"{self.sentence} ({self.violations})"


class Broken(Frozen):
    """A check that one account fails; without an account: several, or rows without an account."""

    name: str
    account_id: UUID | None = None
    violations: int
    examples: tuple[str, ...]


class Report(Frozen):
    """All findings of one run."""

    ok: bool
    as_of: AwareDatetime
    """Real time of the snapshot, or of the first of several."""
    checks: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Return the findings with violations."""
        return tuple(finding for finding in self.checks if not finding.ok)


class Run(Frozen):
    """The summary of an audit."""

    ran_at: AwareDatetime
    checks: int
    wrong: tuple[str, ...]
    """The sentences that do not hold, with the number of rows that break each."""
    accounts: int | None = None
    """Number of accounts checked."""
    whole_at: AwareDatetime | None = None
    """The last time that all checks across accounts held."""

"""The findings of the integrity checks: one per check."""

from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class Check(Frozen):
    """Something that must be so at every commit; `invariant` is its number in the test plan."""

    name: str
    invariant: str
    sentence: str


class Finding(Check):
    """Result of one rule; `examples` are up to five external ids that break it."""

    ok: bool
    violations: int
    examples: tuple[str, ...]

    @property
    def words(self) -> str:
        """The sentence, with how many rows break it."""
        return f"{self.sentence} ({self.violations})"


class Broken(Frozen):
    """A check that one account breaks; without an account: any, or what is nobody's."""

    name: str
    account_id: UUID | None = None
    violations: int
    examples: tuple[str, ...]


class Report(Frozen):
    """All findings of one look."""

    ok: bool
    as_of: AwareDatetime
    """Real time of the snapshot; of several, of the first one."""
    checks: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that are not well."""
        return tuple(finding for finding in self.checks if not finding.ok)


class Run(Frozen):
    """The result of a look at the books, in short."""

    ran_at: AwareDatetime
    checks: int
    wrong: tuple[str, ...]
    """The sentences that do not hold, with how many rows break each."""
    accounts: int | None = None
    """Number of accounts it has looked at."""
    whole_at: AwareDatetime | None = None
    """The last time that everything held that no account shows alone."""

"""What the books say of themselves: one finding per check."""

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Check(BaseModel):
    """Something that must be so at every commit; `invariant` is its number in the test plan."""

    model_config = ConfigDict(frozen=True)

    name: str
    invariant: str
    sentence: str


class Finding(Check):
    """Whether it is so; `examples` are up to five external ids of what is not."""

    ok: bool
    violations: int
    examples: tuple[str, ...]


class Report(BaseModel):
    """All findings of one snapshot of the rows."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    as_of: AwareDatetime
    """Real time of the snapshot."""
    checks: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that are not well."""
        return tuple(finding for finding in self.checks if not finding.ok)

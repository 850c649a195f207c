"""Compare the taxes of a wanted catalog with the current ones; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from billing.catalog.taxes.schemas import Jurisdiction
from billing.catalog.taxes.spec import JurisdictionSpec, RatesSpec, TaxesSpec


@dataclass(frozen=True)
class CurrentTaxes:
    """The taxes as the database has them."""

    jurisdictions: Mapping[str, Jurisdiction]
    included_in: tuple[str, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JurisdictionChange:
    """A jurisdiction's tax changes; without `new` it is no longer collected."""

    key: str
    old: Jurisdiction | None
    new: JurisdictionSpec | None

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return f"tax {self.key}"

    @property
    def words(self) -> str:
        """For people: `tax DE: USt standard 19 %, reduced 7 %; drafts from now on`."""
        if self.new is None:
            return f"tax {self.key}: no longer collected"
        later = "".join(f", from {one.since} {_words(one)}" for one in self.new.later)
        instead = ", in place of its country's" if self.new.instead_of_country else ""
        rates = _words(self.new) + later
        return f"tax {self.key}: {self.new.name} {rates}{instead}; drafts from now on"


def _words(spec: RatesSpec) -> str:
    return ", ".join(f"{name} {rate.normalize():f} %" for name, rate in sorted(spec.rates.items()))


@dataclass(frozen=True)
class InclusionChange:
    """The currencies whose prices include tax change."""

    new: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return "taxes"

    @property
    def words(self) -> str:
        """For people."""
        return f"prices hold their tax in: {', '.join(self.new) or 'no currency'}"


@dataclass(frozen=True)
class CodesChange:
    """The tax provider's codes for categories of goods change."""

    new: Mapping[str, str]

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return "taxes"

    @property
    def words(self) -> str:
        """For people."""
        listed = ", ".join(f"{name} is {code}" for name, code in sorted(self.new.items()))
        return f"the tax provider's codes: {listed or 'none'}; rates asked for from now on"


TaxChange = JurisdictionChange | InclusionChange | CodesChange


def compare(wanted: TaxesSpec, current: CurrentTaxes) -> list[TaxChange]:
    """Return every change that makes the taxes exactly the wanted ones."""
    changes = compare_inclusion(wanted.included_in, current)
    changes += [] if wanted.codes == current.codes else [CodesChange(wanted.codes)]
    for key, new in wanted.jurisdictions.items():
        changes += compare_jurisdiction(key, new, current)
    gone = (one for one in current.jurisdictions if one not in wanted.jurisdictions)
    return changes + [JurisdictionChange(key, current.jurisdictions[key], None) for key in gone]


def compare_inclusion(currencies: Iterable[str], current: CurrentTaxes) -> list[TaxChange]:
    """Return the change of the currencies whose prices include tax."""
    wanted = tuple(sorted(set(currencies)))
    return [] if wanted == current.included_in else [InclusionChange(wanted)]


def compare_jurisdiction(key: str, new: JurisdictionSpec, current: CurrentTaxes) -> list[TaxChange]:
    """Return the change of one jurisdiction."""
    old = current.jurisdictions.get(key)
    wanted = Jurisdiction(key=key, **new.model_dump())
    return [] if old == wanted else [JurisdictionChange(key, old, new)]

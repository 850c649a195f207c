"""Compare the payment methods of a wanted catalog with those that are offered; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from billing.catalog.payment_kinds.schemas import PaymentKind
from billing.catalog.payment_kinds.spec import PaymentKindSpec


@dataclass(frozen=True)
class PaymentKindChange:
    """A kind is offered, offered elsewhere, or (without `new`) no longer."""

    key: str
    new: PaymentKind | None

    @property
    def subject(self) -> str:
        """The name of the changed object, for the audit trail."""
        return f"payment method {self.key}"

    @property
    def words(self) -> str:
        """For people: `payment method sepa_debit: offered in DE, FR for EUR`."""
        if self.new is None or not self.new.is_active:
            return f"{self.subject}: no longer offered"
        where = ", ".join(self.new.countries) or "every country"
        return f"{self.subject}: offered in {where} for {', '.join(self.new.currencies) or 'all'}"


def compare(
    wanted: Mapping[str, PaymentKindSpec], current: Mapping[str, PaymentKind]
) -> list[PaymentKindChange]:
    """Return every change that makes the offer exactly the wanted one."""
    changes = []
    for position, (key, spec) in enumerate(wanted.items()):
        changes += compare_one(key, spec, position, current)
    gone = (key for key in current if key not in wanted)
    return changes + [PaymentKindChange(key, None) for key in gone]


def compare_one(
    key: str, spec: PaymentKindSpec, position: int, current: Mapping[str, PaymentKind]
) -> list[PaymentKindChange]:
    """Return the change of one kind, if it differs."""
    new = PaymentKind(key=key, position=position, **spec.model_dump())
    return [PaymentKindChange(key, new)] if current.get(key) != new else []

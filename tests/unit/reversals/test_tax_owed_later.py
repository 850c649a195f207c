"""A VAT id is proven while money of the invoice may still go back: its tax is owed afterwards."""

from typing import Any, Final

import pytest

from billing.catalog.taxes.schemas import Taxation
from billing.matters.agenda import Step
from billing.matters.effects import Do, Effect, Watch, Work
from billing.money.invoices.operations import OWE_TAX
from billing.money.invoices.schemas import CreditNote
from billing.money.payments.schemas import Payment
from billing.money.refunds.calls import SurveyAnswer, SurveyCall
from billing.money.refunds.rules import Taken
from billing.money.reversals import transitions
from billing.money.reversals.facts import ReversalFacts
from tests.unit.reversals.story import AT, ME, PAYMENT, Story, act

TOTAL, TAX = 1200, 200
PROVEN: Final = Taxation(seller="DE", country="AT", vat_proven=True)


class Taxed(Story):
    """A paid invoice with tax on top, of a business whose VAT id is proven by now."""

    def __init__(self, taxation: Taxation = PROVEN) -> None:
        super().__init__(TOTAL, 0, added=True)
        self.taxation = taxation
        self.effects: list[Effect] = []

    def work(self, answer: Any = None) -> Work[ReversalFacts]:
        work = super().work(answer)
        work.facts.taxation = self.taxation
        return work

    def follow(self, effects: list[Effect]) -> None:
        self.effects = effects
        super().follow(effects)

    def looked(self) -> list[Effect]:
        """The effects of a look at the provider."""
        taken = Taken(refunds=tuple(self.made.values()), disputes=tuple(self.disputes.values()))
        call = SurveyCall(self.rows.get(Payment, PAYMENT))
        w = self.work(SurveyAnswer(call, taken, AT))
        transitions.transition(w, Step(name="check", due=AT, key="pay/evt_1", event="evt_1"))
        self.follow(w.effects)
        return w.effects

    @property
    def notes(self) -> list[tuple[int, int]]:
        return [(one.amount_minor, one.tax_minor) for one in self.rows.of(CreditNote)]


def is_owed(effects: list[Effect]) -> bool:
    """The account's matter is to give tax back."""
    told = [one for one in effects if isinstance(one, Do) and one.verb == OWE_TAX]
    assert not told or Watch(ME, due=AT) in effects
    return bool(told)


@pytest.mark.parametrize("part", [None, TOTAL - TAX // 2])
def test_tax_is_owed_again_once_a_dispute_is_won(part: int | None) -> None:
    story = Taxed()
    act(story, ("dispute", "needs_response", part))
    assert not is_owed(story.looked())
    story.prove()
    assert story.notes == [], "a note of a part of it would be the only one"
    act(story, ("decide", "won"))
    assert is_owed(story.looked())
    story.prove()
    assert story.notes == [(TAX, TAX)]


def test_tax_that_a_lost_dispute_leaves_is_owed() -> None:
    story = Taxed()
    act(story, ("dispute", "needs_response", 1100))
    story.looked()
    story.prove()
    act(story, ("decide", "lost"))
    assert is_owed(story.looked())
    story.prove()
    assert sum(tax for _, tax in story.notes) == TAX


def test_tax_is_owed_again_once_a_refund_has_failed() -> None:
    story = Taxed()
    story.ask(TOTAL, "provider", "failed")
    story.prove()
    assert story.notes == []
    story.tell()
    assert is_owed(story.effects)
    story.prove()
    assert story.notes == [(TAX, TAX)]


@pytest.mark.parametrize(
    "taxation", [Taxation(seller="DE", country="AT"), Taxation(seller="DE", country="FR")]
)
def test_who_pays_tax_is_owed_none(taxation: Taxation) -> None:
    story = Taxed(taxation)
    act(story, ("dispute", "needs_response", None))
    story.looked()
    act(story, ("decide", "won"))
    assert not is_owed(story.looked())


def test_what_fits_beside_a_dispute_goes_back_at_once() -> None:
    story = Taxed()
    act(story, ("dispute", "needs_response", 600))
    story.looked()
    story.prove()
    assert story.notes == [(TAX, TAX)]
    act(story, ("decide", "won"))
    assert not is_owed(story.looked())

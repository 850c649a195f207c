"""Decision verbs shared by the matters that collect invoices."""

from typing import Final

from billing.metering.usage import unpaid
from billing.money.invoices.verbs import NUMBERING
from billing.money.payments.kept_cards import ANOTHER_CARD
from billing.platform.decisions.writer import Verb

COLLECTING: Final[dict[str, Verb]] = {**NUMBERING, ANOTHER_CARD: unpaid.another_card}

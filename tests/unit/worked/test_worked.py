"""Invoices worked out by hand (tests/worked/README.md) are what the product writes."""

from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.unit.worked.player import Player, instant

FOLDER: Final = Path(__file__).resolve().parents[2] / "worked"


def by_hand(text: str) -> int:
    """`-1900 * 21 / 31` in whole minor units, half away from zero."""
    first, *rest = text.split()
    value = Fraction(first)
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        value = value * Fraction(number) if sign == "*" else value / Fraction(number)
    size = (abs(value) + Fraction(1, 2)).__floor__()
    return size if value >= 0 else -size


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_an_invoice_is_as_worked_out_by_hand(file: Path) -> None:
    case = yaml.safe_load(file.read_text())
    player = Player(case)
    for step in case["steps"]:
        lines = player.play(step)
        wanted = [(one["kind"], one["minor"]) for one in step["lines"]]
        assert wanted == [(one["kind"], by_hand(one["sum"])) for one in step["lines"]]
        assert [(one.kind, one.amount_minor) for one in lines] == wanted, step["at"]
        assert player.due == step.get("due", 0)
        assert player.balance == step.get("balance", 0)
        if "period" in step:
            now = player.subscription
            span = [now.current_period_start, now.current_period_end]
            assert span == [instant(one) for one in step["period"]]

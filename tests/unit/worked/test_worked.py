"""Invoices worked out by hand (tests/worked/README.md) are what the product writes."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from billing.money.invoices.schemas import InvoiceLine
from tests.unit.worked.player import Player, instant

FOLDER: Final = Path(__file__).resolve().parents[2] / "worked"


def by_hand(text: str) -> int:
    """`-1900 * 21 / 31`, or a sum of such, in whole minor units, half away from zero."""
    value, product, sign, mark = Fraction(0), Fraction(0), 1, "*"
    for word in ["+", *text.split(), "+"]:
        if word in ("+", "-"):
            value += sign * product
            product, sign, mark = Fraction(1), 1 if word == "+" else -1, "*"
        elif word in ("*", "/"):
            mark = word
        else:
            product = product * Fraction(word) if mark == "*" else product / Fraction(word)
    size = (abs(value) + Fraction(1, 2)).__floor__()
    return size if value >= 0 else -size


def agrees(wanted: dict[str, Any], player: Player, lines: list[InvoiceLine]) -> None:
    """An invoice, and what is around it, is as the file says."""
    for part, written in (("lines", lines), ("beside", player.beside)):
        asked = wanted.get(part, ())
        known = [(one["kind"], one["minor"]) for one in asked]
        assert known == [(one["kind"], by_hand(one["sum"])) for one in asked]
        assert [(one.kind, one.amount_minor) for one in written] == known
        for line, one in zip(written, asked, strict=True):
            for name in {"discount", "tax"} & one.keys():
                assert getattr(line, f"{name}_minor") == by_hand(one[name]), (line.kind, name)
    assert player.due == wanted.get("due", 0)
    assert player.balance == wanted.get("balance", 0)
    for name in ("discount", "tax"):
        assert sum(getattr(one, f"{name}_minor") for one in lines) == by_hand(wanted.get(name, "0"))
    if player.invoice is not None and "total" in wanted:
        assert player.invoice.total_minor == by_hand(wanted["total"])
    if "credits" in wanted:
        assert player.granted == Decimal(wanted["credits"])
    if "units" in wanted:
        assert player.units == by_hand(wanted["units"])
    if "period" in wanted:
        now = player.subscription
        span = [now.current_period_start, now.current_period_end]
        assert span == [instant(one) for one in wanted["period"]]


@pytest.mark.parametrize("pays_after", [timedelta(), timedelta(seconds=2)], ids=["", "late"])
@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_an_invoice_is_as_worked_out_by_hand(file: Path, pays_after: timedelta) -> None:
    case = yaml.safe_load(file.read_text())
    player = Player(case, pays_after)
    if "first" in case["start"]:
        agrees(case["start"]["first"], player, player.first)
    for step in case["steps"]:
        agrees(step, player, player.play(step))

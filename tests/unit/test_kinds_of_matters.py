"""All other lists of kinds of matters are whole: one forgotten would be left out in silence."""

from typing import get_args

from api.routes.admin.matters import KindName
from billing.matters.kinds import COLLECTING, KINDS
from billing.money.invoice_requests.asking import ENGINES
from billing.money.invoice_requests.locks import ROWS


def test_a_kind_that_collects_invoices_has_an_engine_and_rows_to_lock() -> None:
    assert ENGINES.keys() == COLLECTING
    assert ROWS.keys() == COLLECTING


def test_operators_can_list_each_kind() -> None:
    assert get_args(KindName) == tuple(KINDS)

"""The drill of the documents is the one that is rehearsed."""

import re

import pytest

from billing.insight.health import rules
from devstack.options import ROOT
from tests.drill.incidents import INCIDENTS
from tests.drill.rehearsal import Incident
from tests.test_documents import anchors

DRILL = (ROOT / "docs" / "drill.md").read_text()
RUNBOOK = ROOT / "docs" / "runbook.md"


def test_the_table_has_every_incident_in_the_order_of_the_drill() -> None:
    assert re.findall(r"^\| ([^|]+?) \| [^|]+ \| ", DRILL, re.MULTILINE)[1:] == [
        one.name for one in INCIDENTS
    ]


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda one: one.name)
def test_an_incident_is_found_by_a_sign_with_a_page(incident: Incident) -> None:
    if incident.sign is None or incident.look is not None:
        return
    assert rules.page(incident.sign).partition("#")[2] in anchors(RUNBOOK)

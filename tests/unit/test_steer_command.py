"""An operator who mistypes an act reads the words that the command takes."""

import re

import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from cli.steer_command import ACTS

KNOWN = "pause-dunning, resume-dunning, extend-dunning, retry, forgive, pause or extend"


@pytest.mark.parametrize("act", ["pauze", "id", "Retry", ""])
def test_an_unknown_act_is_answered_with_those_of_the_help(act: str) -> None:
    shown = CliRunner().invoke(app, ["steer", act, "--reason", "x", "--plan", "pro"])
    assert shown.exit_code == 2
    assert KNOWN in re.sub(r"[\s│]+", " ", shown.output)
    assert ACTS == KNOWN

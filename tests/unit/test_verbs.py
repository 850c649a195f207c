"""A verb's function takes what decisions give it: the writer calls it by a name, which no type
checker follows.
"""

import inspect
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import pytest

from billing.ledger.credits import rollover
from billing.ledger.credits import service as credits
from billing.matters.effects import Operation
from billing.money.invoice_requests.asking import ENGINES
from billing.money.purchases import reading as purchases
from billing.money.reversals.reading import ENGINE as REVERSALS
from billing.money.trials.reading import ENGINE as TRIALS
from billing.platform.decisions.writer import ISSUE, Verb

PASSED_ON: Mapping[Verb, Verb] = {
    rollover.grant: credits.grant,
    purchases._grant: rollover.grant,
}
"""Functions that pass on what they do not take themselves."""
CARRIED_OUT = {
    (verb, function)
    for engine in (*ENGINES.values(), REVERSALS, TRIALS)
    for verb, function in engine.verbs.items()
    if verb != ISSUE  # the writer's own
}


@pytest.mark.parametrize(("verb", "function"), sorted(CARRIED_OUT, key=str))
def test_a_function_takes_the_arguments_of_its_verb(verb: Operation[Any], function: Verb) -> None:
    (arguments,) = get_args(verb.__orig_class__)  # type: ignore[attr-defined]
    given, always = get_type_hints(arguments), arguments.__required_keys__ | {"at", "connection"}
    taken, hints = dict(inspect.signature(function).parameters), get_type_hints(function)
    while function in PASSED_ON:
        function = PASSED_ON[function]
        taken |= inspect.signature(function).parameters
        hints |= get_type_hints(function)
    needed = {
        name
        for name, one in taken.items()
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    }
    assert needed <= always
    assert given.keys() <= taken.keys()
    assert {name: hints[name] for name in given} == given

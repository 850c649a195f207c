"""Faults that no test noticed once."""

from typing import Final

from tests.mutants.fault import Mutant

OVERLOOKED: Final = (
    Mutant(
        "an intent may lead the payer to another page",
        "gateways/stripe.py",
        '"allow_redirects": "never"},\n        }\n        if request.save_card',
        '"allow_redirects": "always"},\n        }\n        if request.save_card',
        (
            "tests/integration/sandbox/test_refusals.py",
            "-k",
            "needs_no_way_back",
        ),
    ),
)

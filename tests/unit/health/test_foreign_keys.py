"""A key of another Stripe account is told with the object that it does not know."""

from datetime import timedelta

from pydantic import SecretStr

from billing.core.settings import Settings
from billing.platform.processes.agreement import agreed
from billing.platform.processes.schemas import Figures as Own
from tests.unit.health.test_signs import NOW, figures, process, unhealthy


def test_a_key_that_does_not_know_our_objects_is_named_with_its_account() -> None:
    refused = Own(refusals={"stripe": NOW - timedelta(minutes=4)})
    foreign = Own(refusals=refused.refusals, unknown_object="cus_1")
    assert unhealthy(figures(process(3, figures=foreign))) == {
        "provider keys": "refused: stripe that of worker 3 on one for 4 min (it does not know our"
        " cus_1: is it another account's?)"
    }
    settings = Settings(
        _env_file=None, stripe_secret_key=SecretStr("sk_live_51" + "H" * 14 + "secret")
    )
    named = foreign.model_copy(update={"agreed": agreed(settings)})
    assert unhealthy(figures(process(3, figures=named)))["provider keys"].endswith(
        " (it does not know our cus_1: is it another account's? It is of"
        " acct_1HHHHHHHHHHHHHH, mode live)"
    )

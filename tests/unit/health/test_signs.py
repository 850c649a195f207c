"""Figures of the product become signs: unhealthy, with words, as soon as something is wrong."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import yaml
from pydantic import SecretStr

from billing.core.settings import Settings
from billing.insight.health import rules, store
from billing.insight.health.schemas import Backlog, Charges, Figures, Sign
from billing.insight.integrity.rules import JOB as AUDIT
from billing.insight.integrity.schemas import Run
from billing.platform.parking.schemas import Parking
from billing.platform.processes.agreement import agreed
from billing.platform.processes.schemas import Failures, Pool, Process
from billing.platform.processes.schemas import Figures as Own
from cli.doctor_checks import CHECKS
from devstack.options import ROOT
from tests.test_documents import anchors

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
RUNBOOK = ROOT / "docs" / "runbook.md"
OPERATE = ROOT / "docs" / "operate.md"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"


def process(number: int, kind: Any = "worker", *, seen: float = 1, **more: Any) -> Process:
    """A process that showed itself so many seconds ago, an hour after its start."""
    seen_at = NOW - timedelta(seconds=seen)
    known = {
        "id": UUID(int=number), "kind": kind, "host": "one", "pid": number, "version": "1",
        "started_at": seen_at - timedelta(hours=1), "seen_at": seen_at,
        "clock_ahead": timedelta(),
    }  # fmt: skip
    return Process.model_validate(known | more)


def figures(*processes: Process, **more: Any) -> Figures:
    """A healthy product: a worker and an API, and nothing waits."""
    known = {
        "at": NOW, "backlogs": (), "late": (), "charges": (), "books": None,
        "processes": (process(1), process(2, "api"), *processes),
        "looked": dict.fromkeys((*rules.JOBS_LATE, AUDIT), NOW),
    }  # fmt: skip
    return Figures.model_validate(known | more)


def unhealthy(found: Figures) -> dict[str, str]:
    """Every sign that is not healthy, with its words."""
    return {sign.name: sign.words for sign in rules.signs(found) if sign.state != "healthy"}


def waiting(name: str, seconds: float, count: int = 1) -> Figures:
    """Rows that wait, the oldest for so long."""
    backlog = Backlog(
        name=name, count=count, oldest=timedelta(seconds=seconds), examples=("first", "second")
    )
    return figures(backlogs=(backlog,))


def test_a_product_that_is_well_has_no_ill_sign() -> None:
    assert unhealthy(figures()) == {}


@pytest.mark.parametrize(
    ("name", "seconds", "sign", "words"),
    [
        ("halted", 0, "halted matters", "1: first; second"),
        ("parked", 0, "parked events", "1: first; second"),
        ("held", 0, "held invoices", "1: first; second"),
        ("unreached", 0, "unreached charges", "1: first; second"),
        ("months", 0, "missing months", "1: first; second"),
        ("unanswered_taxes", 0, "unanswered taxes", "1: first; second"),
        ("overdue", 181, "late steps", "1, the oldest for 3 min: first; second"),
        ("untold", 121, "untold matters", "1, the oldest for 2 min: first; second"),
        ("events", 121, "waiting events", "1, the oldest for 2 min: first; second"),
        ("undecided", 1801, "undecided payments", "1, the oldest for 30 min: first; second"),
    ],
)
def test_rows_that_wait_too_long_are_unhealthy(
    name: str, seconds: float, sign: str, words: str
) -> None:
    assert unhealthy(waiting(name, seconds)) == {sign: words}
    if seconds:
        assert unhealthy(waiting(name, seconds - 2)) == {}, "within its time"


@pytest.mark.parametrize(
    "name", ["approvals", "unpaid_uses", "migration_requests", "customers", "dunning", "unmatched"]
)
def test_what_people_decide_may_wait(name: str) -> None:
    assert unhealthy(waiting(name, 1_000_000)) == {}


def test_accounts_whose_customer_was_deleted_are_named() -> None:
    found = {one.name: one.words for one in rules.signs(waiting("customers", 7_200))}
    assert found["deleted customers"] == "1, the oldest for 2 h: first; second"


def test_a_process_that_fell_silent_is_missed_until_another_takes_its_place() -> None:
    assert unhealthy(figures(process(3, seen=29))) == {}
    hung = unhealthy(figures(process(3, seen=31)))
    assert hung["worker"].startswith("silent: worker 3 on one, last seen 31 s ago")
    replaced = process(4, started_at=NOW - timedelta(seconds=5))
    assert unhealthy(figures(process(3, seen=31), replaced)) == {}, (
        "the one that died was begun again"
    )
    elsewhere = process(4, host="two", started_at=NOW - timedelta(seconds=5))
    assert "worker" in unhealthy(figures(process(3, seen=31), elsewhere))
    assert unhealthy(figures(process(3, seen=601), elsewhere)) == {}, (
        "by then it was replaced elsewhere"
    )


def test_a_database_that_lacks_what_a_living_process_committed_is_ill() -> None:
    knows = Own(lacks_commits=True)
    found = unhealthy(figures(process(3, figures=knows), process(4, "api", figures=knows)))
    named = "worker 3 on one, api 4 on one"
    assert found == {"database": f"it lacks commits of {named}: go on as after a restore"}
    assert "database" not in unhealthy(figures(process(3, seen=31, figures=knows))), "it has ended"


def test_nobody_serves() -> None:
    found = figures(processes=(process(2, "api"),))
    assert unhealthy(found) == {"worker": "no worker runs on this database"}


def test_clocks_that_differ_and_pools_that_are_full_are_named() -> None:
    astray = process(3, clock_ahead=timedelta(seconds=-2.5))
    assert unhealthy(figures(astray)) == {"clocks": "not the database's: worker 3 on one by -2.5 s"}
    full = process(3, figures=Own(pools={"app": Pool(busy=20, size=20)}))
    assert unhealthy(figures(full)) == {
        "pools": "every connection is in use: app of worker 3 on one"
    }


def test_a_database_that_only_reads_or_is_full_says_so() -> None:
    silent = figures(process(3, seen=100), takes_writes=False)
    assert "the database only reads" in unhealthy(silent)["worker"]
    assert "its disk is full" in unhealthy(figures(has_room=False))["database"]


def test_a_process_whose_key_is_refused_is_named() -> None:
    refused = Own(refusals={"stripe": NOW - timedelta(minutes=4)})
    assert unhealthy(figures(process(3, figures=refused))) == {
        "provider keys": "refused: stripe that of worker 3 on one for 4 min"
    }
    gone = process(3, figures=refused, seen=601)
    assert "provider keys" not in unhealthy(figures(gone)), "only of those that live"


def test_processes_whose_settings_differ_are_named() -> None:
    ours, theirs = ({"Stripe's address": host} for host in ("api.stripe.com", "127.0.0.1:12111"))
    alike = [process(number, figures=Own(agreed=ours)) for number in (3, 4)]
    assert unhealthy(figures(*alike)) == {}
    wrong = process(5, host="two", figures=Own(agreed=theirs))
    assert unhealthy(figures(*alike, wrong)) == {
        "settings": "processes differ in Stripe's address: 127.0.0.1:12111 of worker 5 on two,"
        " api.stripe.com of worker 3 on one and worker 4 on one"
    }
    gone = process(5, host="two", figures=Own(agreed=theirs), seen=601)
    assert unhealthy(figures(*alike, gone)) == {}, "only of those that live"


def test_a_process_in_which_billing_is_switched_off_is_named() -> None:
    off, on = [
        Own(agreed=agreed(Settings(_env_file=None, billing_enabled=value)))
        for value in (False, True)
    ]
    found = unhealthy(figures(process(3, figures=on), process(4, figures=off)))
    assert found == {
        "settings": "processes differ in BILLING_ENABLED: true of worker 3 on one,"
        " false of worker 4 on one",
        "switch": "BILLING_ENABLED is false in worker 4 on one:"
        " such an API answers customers 404, such a worker charges nothing new",
    }
    assert unhealthy(figures(process(4, figures=off, seen=601))) == {}, "only of those that live"


def test_what_must_agree_holds_no_secret() -> None:
    key = "sk_live_51" + "H" * 14 + "secretsecret"
    settings = Settings(_env_file=None, stripe_secret_key=SecretStr(key))
    found = agreed(settings)
    assert found["Stripe's address"] == "api.stripe.com"
    assert found["BILLING_CYCLE_CREDITS_AT"] == "payment"
    assert found["BILLING_TAX_PROVIDER"] == "catalog"
    assert found["the mode of Stripe's key"] == "live"
    assert found["the account of Stripe's key"] == "acct_1" + "H" * 14
    assert "secret" not in str(found)
    elsewhere = Settings(_env_file=None, stripe_api_base="http://127.0.0.1:9/v1")
    assert agreed(elsewhere)["Stripe's address"] == "127.0.0.1:9"


def test_pools_that_do_not_fit_into_postgres_are_unhealthy() -> None:
    pools = {"app": Pool(busy=1, size=20), "operator": Pool(busy=0, size=20)}
    third = process(3, figures=Own(pools=pools))
    assert unhealthy(figures(third, connections=40)) == {}
    assert unhealthy(figures(third, connections=39)) == {
        "pools": "the pools of 3 processes may take 40 connections, but Postgres allows 39:"
        " raise max_connections or lower BILLING_DATABASE_POOL_SIZE"
    }
    gone = process(3, seen=700, figures=Own(pools=pools))
    assert unhealthy(figures(gone, connections=39)) == {}, "it takes none any more"


def test_pools_behind_a_pooler_take_no_connections_of_postgres() -> None:
    pools = {"app": Pool(busy=1, size=200), "operator": Pool(busy=0, size=200)}
    third = process(3, figures=Own(pools=pools, behind_pooler=True))
    assert unhealthy(figures(third, connections=300, role_limits={"app": 100})) == {}
    few = unhealthy(figures(third, connections=300, taken={"billing_app": 296}))
    assert few == {"pools": "Postgres gives 4 more connections: 296 by billing_app"}


def test_a_server_that_is_nearly_full_is_ill_and_says_who_has_its_connections() -> None:
    taken = {"reports": 150, "billing_app": 30, "billing_operator": 12, "postgres": 1}
    assert unhealthy(figures(connections=198, taken=taken)) == {}
    assert unhealthy(figures(connections=197, taken=taken)) == {
        "pools": "Postgres gives 4 more connections:"
        " 150 by reports, 30 by billing_app, 12 by billing_operator"
    }
    assert "gives 0 more" in unhealthy(figures(connections=100, taken=taken))["pools"]
    assert unhealthy(figures(connections=None, taken=taken)) == {}


def test_a_role_whose_connections_are_limited_is_named() -> None:
    pools = {"app": Pool(busy=1, size=20), "operator": Pool(busy=0, size=20)}
    third = process(3, figures=Own(pools=pools))
    assert unhealthy(figures(third, role_limits={"app": 20})) == {}
    assert unhealthy(figures(third, role_limits={"app": 2})) == {
        "pools": "the pools may take 20 connections as billing_app and Postgres gives this role 2:"
        " ALTER ROLE billing_app CONNECTION LIMIT -1"
    }


@pytest.mark.parametrize(
    ("found", "migrations", "state", "words"),
    [
        ("0001", ("0001", "0002"), "unhealthy", "the database is at 0001, this release needs 0002"),
        (None, (), "unhealthy", "the database has none: run billing migrate"),
        ("0002", ("0001", "0002"), "healthy", "0002"),
        ("0002", (), "healthy", "0002"),
        (
            "0003", ("0001", "0002"), "healthy",
            "the database is at 0003, newer than this release: it serves there all the same",
        ),
    ],
)  # fmt: skip
def test_the_schema_is_the_releases_or_a_newer_one(
    found: str | None, migrations: tuple[str, ...], state: str, words: str
) -> None:
    sign = rules.schema(found, migrations)
    assert (sign.words, sign.state) == (words, state)


def fails(
    count: int, of: int, *, last: float = 5, good: float | None = None, route: str = "POST /buy"
) -> Failures:
    """A route that failed so many, the last so many seconds ago."""
    return Failures(
        route=route,
        answered=of,
        codes={"UNAVAILABLE": count},
        failed_at=NOW - timedelta(seconds=last),
        good_at=None if good is None else NOW - timedelta(seconds=good),
    )


@pytest.mark.parametrize(
    ("one", "is_unhealthy"),
    [
        (fails(2, 2), False),
        (fails(3, 3), True),
        (fails(4, 40), False),
        (fails(5, 40), True),
        (fails(12, 40, last=200), True),
        (fails(12, 40, last=200, good=190), False),
        (fails(12, 40, last=20, good=10), True),
        (fails(12, 40, last=31, good=31.5), True),
    ],
)
def test_requests_that_fail_are_ill_until_the_route_answers_well_again(
    one: Failures, *, is_unhealthy: bool
) -> None:
    found = unhealthy(figures(process(3, "api", figures=Own(failures=(one,)))))
    assert ("requests" in found) is is_unhealthy, found
    gone = figures(process(3, "api", figures=Own(failures=(one,)), seen=601))
    assert unhealthy(gone) == {}, "only of those that live"


def test_failures_of_all_processes_count_together_and_name_their_codes_and_routes() -> None:
    others = fails(40, 50).model_copy(update={"codes": {"INTERNAL": 40}})
    calm = fails(3, 1000, route="POST /use")
    shared = [
        process(10, "api", figures=Own(failures=(fails(12, 20), fails(1, 1, route="GET /me")))),
        process(11, "api", figures=Own(failures=(others, calm))),
    ]
    assert unhealthy(figures(*shared)) == {
        "requests": "53 of 71 of the last five minutes failed (INTERNAL 40, UNAVAILABLE 13):"
        " POST /buy 52 of 70; GET /me 1 of 1"
    }


def test_a_release_before_tells_nothing_of_failures() -> None:
    assert Own.model_validate({"pools": {}}).failures == ()


@pytest.mark.parametrize(
    ("declined", "succeeded", "is_unhealthy"),
    [(20, 0, False), (21, 0, True), (15, 15, False), (16, 15, True)],
)
def test_many_declines_are_ill_when_they_are_most_of_the_charges(
    declined: int, succeeded: int, is_unhealthy: bool
) -> None:
    charges = (
        Charges(outcome="declined", decline_class="soft", count=declined - 1),
        Charges(outcome="declined", decline_class="hard", count=1),
        Charges(outcome="succeeded", decline_class="", count=succeeded),
    )
    words = (
        f"{declined} of {declined + succeeded} charges of the last hour were declined:"
        f" {declined - 1} soft, 1 hard"
    )
    assert unhealthy(figures(charges=charges)) == ({"mass declines": words} if is_unhealthy else {})


def test_a_single_decline_by_configuration_is_unhealthy() -> None:
    charges = (
        Charges(outcome="declined", decline_class="config", count=1),
        Charges(outcome="succeeded", decline_class="", count=500),
    )
    assert unhealthy(figures(charges=charges)) == {
        "config declines": "of the last hour's charges our account at the provider or its settings"
        " declined 1"
    }


def test_the_hourly_audit_is_ill_when_it_found_something_or_did_not_run() -> None:
    def run(hours: float, *wrong: str) -> Figures:
        return figures(books=Run(ran_at=NOW - timedelta(hours=hours), checks=60, wrong=wrong))

    assert unhealthy(run(1)) == {}
    assert "not so: a sum (2)" in unhealthy(run(1, "a sum (2)"))["hourly audit"]
    assert "none ran since" in unhealthy(run(4))["hourly audit"]


def test_a_parked_database_is_ill_with_its_reason() -> None:
    parked_at = NOW - timedelta(minutes=12)
    parking = Parking(
        id=UUID(int=1), reason="a restore", data_until=None, parked_at=parked_at, ended_at=None
    )
    found = unhealthy(figures(parking=parking))
    assert found == {"parking": "nothing moves money for 12 min: a restore"}


@pytest.mark.parametrize(
    ("seconds", "words"), [(-9, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h")]
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, words: str) -> None:
    assert rules.ago(timedelta(seconds=seconds)) == words


def pages() -> list[str]:
    """The runbook's page of every sign and of every check that may not be made."""
    names = {sign.name for sign in rules.signs(figures())} | set(CHECKS)
    names |= {"migrations", "queues", "workflows", "namespace"}
    return sorted(rules.page(name) for name in names)


@pytest.mark.parametrize("page", pages())
def test_every_sign_has_its_page_in_the_runbook(page: str) -> None:
    assert page.partition("#")[2] in anchors(RUNBOOK)


def test_every_sign_that_calls_somebody_has_an_alert() -> None:
    rules_of = yaml.safe_load(ALERTS.read_text())["groups"]
    told = {one["annotations"]["runbook"] for group in rules_of for one in group["rules"]}
    told |= {rules.page(name) for name in ("unpaid uses", "deleted customers")}
    assert {sign.page for sign in rules.signs(figures())} <= told, "those two tell, and ask nothing"
    (doctor,) = re.findall(r"Only the doctor\s+sees(.+?)\n- ", OPERATE.read_text(), re.DOTALL)
    told |= {f"docs/{one}" for one in re.findall(r"runbook\.md#[a-z-]+", doctor)}
    assert set(pages()) <= told | {rules.page(name) for name in ("installed", "test clocks")}


def test_every_backlog_is_counted() -> None:
    assert set(store.NAMES) >= {"halted", "overdue", "events", "dunning", "approvals"}
    assert isinstance(rules.signs(figures())[0], Sign)


def test_what_could_not_be_counted_is_not_known() -> None:
    found = rules.signs(figures(uncounted=("halted", "overdue", "unpaid_uses", "charges")))
    told = {one.name: one.words for one in found if one.state == "unknown"}
    assert told.keys() == {
        "halted matters", "late steps", "unpaid uses", "mass declines",
        "config declines",
    }  # fmt: skip
    assert set(told.values()) == {rules.UNCOUNTED}

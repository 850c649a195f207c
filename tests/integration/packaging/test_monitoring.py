"""Alerts and the dashboard ask for metrics that are there, and lead to pages that are there."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, get_args

import httpx2
import pytest
import yaml
from prometheus_client import REGISTRY

from api.routes.admin.inbox import Status
from billing.insight.health import rules, store
from billing.insight.integrity.rules import JOB as AUDIT
from billing.platform.processes.rules import FAILED_SHARE
from devstack.options import ROOT
from devstack.stack import StackInfo
from tests.integration.actors import Actors, wait_for
from tests.integration.packaging.alert_firing import ALERTS, RULES, fired, promtool
from tests.test_documents import anchors

DASHBOARD: Final = ROOT / "deploy" / "grafana" / "dashboards" / "billing.json"
RUNBOOK: Final = ROOT / "docs" / "runbook.md"
PANELS: Final[list[dict[str, Any]]] = json.loads(DASHBOARD.read_text())["panels"]
QUERIES: Final = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
]
NAMED: Final = re.compile(r"\b((?:billing|temporal)_[a-z_]+)")
OLDEST: Final = "billing_waiting_oldest_seconds"
FRESH: Final = "and on(instance) time() - billing_looked_timestamp_seconds < 60"
# Parts of a metric that the scrape tells of by its name alone.
PARTS: Final = re.compile(r"_(?:bucket|sum|count|total)$")


def asked_for() -> set[str]:
    """Every metric of ours or of the worker's that a query names."""
    return {name for query in QUERIES for name in asked_in(query)}


def asked_in(query: str) -> set[str]:
    """The metrics of one query."""
    return {PARTS.sub("", name) for name in NAMED.findall(query)}


def told(page: str) -> set[str]:
    """The metrics of a scrape, as its TYPE lines have them."""
    return {PARTS.sub("", name) for name in re.findall(r"^# TYPE (\w+)", page, re.MULTILINE)}


async def test_every_metric_that_is_asked_for_is_served(actors: Actors, stack: StackInfo) -> None:
    customer = await actors.customer()
    await customer.bought("small")  # a step is done, so its lateness is known

    async def served() -> set[str]:
        async with httpx2.AsyncClient(trust_env=False) as client:
            urls = (stack.api_metrics_url, stack.worker_metrics_url)
            pages = [(await client.get(url)).text for url in urls]
        return told("\n".join(pages))

    seen = await wait_for(served, "the worker tells of its step", lambda s: asked_for() <= s)
    assert {"billing_waiting", "billing_processes_alive"} <= seen


def test_every_metric_that_is_asked_for_is_explained() -> None:
    assert asked_for() - asked_in((ROOT / "docs/operate.md").read_text()) == set()


def test_labels_that_are_asked_for_are_those_that_are_given() -> None:
    wanted = {
        name
        for query in QUERIES
        for names in re.findall(r'what=~?"([^"]+)"', query)
        for name in names.split("|")
    }
    assert wanted <= set(store.NAMES)


def test_no_metric_of_ours_has_a_label_that_prometheus_renames() -> None:
    for one in REGISTRY.collect():
        for sample in one.samples:
            assert sample.labels.keys().isdisjoint({"job", "instance"}), sample.name
    source = (ROOT / "api" / "monitoring" / "gauges.py").read_text()
    assert not re.search(r'\["(?:job|instance)"', source), "gauges without a sample count, too"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_and_where_its_page_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    file, _, section = rule["annotations"]["runbook"].partition("#")
    assert section in anchors(ROOT / file)


@pytest.mark.parametrize(
    ("what", "limit"),
    [("overdue", rules.LATE), ("untold", rules.UNHEARD), ("events", rules.UNHEARD),
     ("undecided", rules.IN_DOUBT)],
)  # fmt: skip
def test_alerts_and_the_doctor_lose_patience_at_once(what: str, limit: timedelta) -> None:
    asked = f'{OLDEST}{{what="{what}"}} {FRESH}) > {limit.total_seconds():.0f}'
    assert any(rule["expr"].partition(" unless ")[0].endswith(asked) for rule in RULES), asked


def test_alerts_and_the_doctor_miss_a_job_at_once() -> None:
    missed = {
        job: timedelta(seconds=int(seconds))
        for rule in RULES
        for jobs, seconds in re.findall(
            r'billing_job_looked_timestamp_seconds\{schedule=~?"([^"]+)"\}\) > (\d+)', rule["expr"]
        )
        for job in jobs.split("|")
    }
    assert missed == rules.JOBS_LATE | {"integrity": rules.AUDIT_LATE}


def test_the_alert_of_failed_requests_asks_nothing_of_parking() -> None:
    (asked,) = (rule["expr"] for rule in RULES if rule["alert"] == "BillingRequestsFail")
    assert asked_in(asked) == {"billing_http_requests"}


def test_every_job_is_missed_by_an_alert_where_it_was_never_begun() -> None:
    absent = {
        job
        for rule in RULES
        for job in re.findall(r'absent\(billing_job_looked\w+\{schedule="([^"]+)"', rule["expr"])
    }
    assert absent == rules.JOBS_LATE.keys() | {AUDIT}
    looking = "and on() max_over_time(billing_looked_timestamp_seconds[10m]) > time() - 600"
    asked = [rule["expr"] for rule in RULES if "absent(billing_job_looked" in rule["expr"]]
    assert all(expr.endswith(looking) for expr in asked), "else nobody knows"


@pytest.mark.parametrize(
    ("looked", "fires"),
    [
        ("_x400", False),
        ("0x400", False),
        ("0+15x400", True),
        ("0+15x60 stale _x7 1035+15x400", True),
    ],
    ids=["no API is there", "it cannot look", "it looks", "it looks again after a restart"],
)
def test_a_net_is_said_to_have_never_run_by_an_api_that_looks(
    tmp_path: Path, *, looked: str, fires: bool
) -> None:
    told = {
        'billing_job_looked_timestamp_seconds{schedule="poll"}': "0+15x400",
        "billing_looked_timestamp_seconds": looked,
    }
    labels = {"schedule": "sweep"}
    fired(
        tmp_path,
        "BillingNetsNeverRan",
        told,
        {"29m": False, "31m": fires, "40m": fires},
        labels=labels,
    )


def test_the_alert_and_the_doctor_call_the_same_declines_many() -> None:
    (asked,) = (rule["expr"] for rule in RULES if rule["alert"] == "BillingMassDeclines")
    assert f"> {rules.DECLINED_SHARE}" in asked
    assert asked.endswith(f"> {rules.DECLINED_OF}")


@pytest.mark.parametrize("server", ["Temporal", "Stripe"])
def test_the_alert_of_a_server_asks_the_api_whether_it_answers(server: str) -> None:
    """Temporal's own metrics are not there if it is Cloud."""
    (rule,) = (rule for rule in RULES if rule["alert"] == f"Billing{server}Away")
    assert asked_in(rule["expr"]) == {f"billing_{server.lower()}_answers"}


def test_every_job_that_an_alert_watches_is_scraped_and_may_be_absent() -> None:
    config = yaml.safe_load((ALERTS.parent / "prometheus.yml").read_text())
    jobs = {one["job_name"] for one in config["scrape_configs"]}
    absent = {
        job for rule in RULES for job in re.findall(r'absent\(up\{job="([^"]+)"', rule["expr"])
    }
    assert jobs - absent == {"temporal"}, "which may be Cloud's: the API tells whether it answers"
    assert absent < jobs


def test_an_alert_of_an_events_status_leads_to_the_list_of_that_status() -> None:
    for rule in RULES:
        for status in set(re.findall(r'what="(\w+)"', rule["expr"])) & set(get_args(Status)):
            _, _, section = rule["annotations"]["runbook"].partition("#")
            page = RUNBOOK.read_text().lower().partition(f"## {section.replace('-', ' ')}\n")[2]
            assert f"status={status}`" in page.partition("\n## ")[0], rule["alert"]


def test_prometheus_itself_takes_the_rules() -> None:
    promtool("check", "rules", str(ALERTS))


@pytest.mark.parametrize(
    ("route", "failed", "status", "fires"),
    [
        ("/api/v1/usage", "0+1x60", "503", True),
        ("/health", "0+1x60", "503", False),
        ("/health/detailed", "0+1x60", "503", False),
        ("/api/v1/usage", "0x20 1 2x40", "503", False),
        ("/api/v1/billing/purchases", "0+1x60", "parked", False),
    ],
    ids=["failures while parked", "health", "details", "single ones", "refused by parking"],
)
def test_the_alert_of_failed_requests_counts_as_the_doctor_does(
    tmp_path: Path, *, route: str, failed: str, status: str, fires: bool
) -> None:
    told: dict[str, Any] = {
        f'billing_http_requests_total{{method="POST", route="{route}", status="{status}"}}': failed,
        'billing_http_requests_total{method="GET", route="/docs", status="200"}': "0+1x60",
        "billing_parked": "1x60",
    }
    fired(tmp_path, "BillingRequestsFail", told, {f"{n}m": fires for n in range(8, 15)})


@pytest.mark.parametrize(
    ("failed", "fires"),
    [("0+1x60", True), ("0x20 2x40", False)],
    ids=["each", "two"],
)
def test_a_route_that_fails_is_told_of_however_many_answers_others_give(
    tmp_path: Path, *, failed: str, fires: bool
) -> None:
    of = "billing_http_requests_total"
    told = {
        f'{of}{{method="POST", route="/api/v1/billing/purchases", status="500"}}': failed,
        f'{of}{{method="POST", route="/api/v1/usage/record", status="200"}}': "0+1500x60",
    }
    fired(tmp_path, "BillingRequestsFail", told, {f"{n}m": fires for n in range(8, 15)})


@pytest.mark.parametrize(
    ("looked", "fires"),
    [
        # The clock of these tests begins at 1970; half an hour before its first look is a start.
        ("_x120 0x1 1830+15x60", {"30m": False, "30m15s": False, "31m": False}),
        ("0x200", {"30m": True}),
        ("0+15x100 1500x100", {"25m": False, "26m": False, "27m": True}),
    ],
    ids=["a start", "a database that is away", "a standstill"],
)
def test_the_gauges_stand_still_where_one_does_not_look_and_not_at_a_start(
    tmp_path: Path, looked: str, fires: dict[str, bool]
) -> None:
    series = {
        'billing_looked_timestamp_seconds{instance="one"}': looked,
        'billing_looked_timestamp_seconds{instance="another"}': "0+15x200",
    }
    fired(tmp_path, "BillingGaugesStandStill", series, fires, labels={"instance": "one"})


@pytest.mark.parametrize(
    ("up", "fires"),
    [
        ("1x20 0x60", {"6m45s": False, "8m": True, "15m": True}),
        ("1x20 0x3 1x60", {"8m": False}),
        ("1x20 _x60", {"8m": False}),
    ],
    ids=["one hangs", "a restart", "one that has left"],
)
@pytest.mark.parametrize("job", ["billing-api", "billing-worker"])
def test_one_process_that_hangs_is_told_of_until_it_is_ended(
    tmp_path: Path, job: str, up: str, fires: dict[str, bool]
) -> None:
    told = {
        f'up{{job="{job}", instance="one"}}': up,
        f'up{{job="{job}", instance="another"}}': "1x80",
    }
    labels = {"job": job, "instance": "one"}
    fired(tmp_path, "BillingProcessHangs", told, fires, labels=labels)


def test_one_process_that_stands_still_is_not_hidden_by_another() -> None:
    expressions = {rule["alert"]: rule["expr"] for rule in RULES}
    assert expressions["BillingProcessHangs"] == 'up{job=~"billing-(api|worker)"} == 0'
    assert not re.search(r"\bmax\b", expressions["BillingGaugesStandStill"])
    asked = [expr for expr in expressions.values() if "billing_parked[" in expr]
    assert len(asked) == 6
    assert all(expr.count(FRESH) == 2 for expr in asked), "nobody knows what it said before"


@pytest.mark.parametrize(
    ("alive", "silent", "fires"),
    [
        ("1x20 0 0 1x40", "0x60", {"5m30s": False, "6m": False}),
        ("1x20 0x60", "0x80", {"5m45s": False, "6m30s": True}),
        ("1x80", "0x20 1x60", {"5m": False, "5m15s": True}),
    ],
    ids=["a restart", "none comes", "one hangs"],
)
def test_a_worker_that_is_gone_is_told_of_and_a_restart_is_not(
    tmp_path: Path, alive: str, silent: str, fires: dict[str, bool]
) -> None:
    told = {
        'billing_processes_alive{kind="worker"}': alive,
        'billing_processes_silent{kind="worker"}': silent,
    }
    fired(tmp_path, "BillingWorkerSilent", told, fires)


LATENESS: Final = "billing_lateness_seconds_bucket"


@pytest.mark.parametrize(
    ("name", "waits", "value"),
    [
        ("BillingStepsLate", {f'{OLDEST}{{what="overdue"}}': "900x200"}, "15m 0s"),
        ("BillingMattersUntold", {f'{OLDEST}{{what="untold"}}': "900x200"}, "15m 0s"),
        ("BillingEventsWait", {f'{OLDEST}{{what="events", label="x"}}': "900x200"}, "15m 0s"),
        ("BillingPaymentsUndecided", {f'{OLDEST}{{what="undecided"}}': "2100x200"}, "35m 0s"),
        ("BillingMattersHalted", {'billing_waiting{what="halted"}': "2x200"}, "2"),
        (
            "BillingStepsSlow",
            {f'{LATENESS}{{le="{le}"}}': "9x200" for le in ("600", "+Inf")}
            | {f'{LATENESS}{{le="60"}}': "0x200"},
            "",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
@pytest.mark.parametrize(
    ("said", "fires"),
    [("0x200, 15x170", True), ("1x200, 15x170", False), ("1x118 0x80, 15x170", False),
     ("1x30 0x170, 15x170", True), ("0x200, 0x170", False)],
    ids=["late", "while parked", "at once after it", "long after it", "nobody looks"],
)  # fmt: skip
def test_what_waits_because_billing_is_parked_is_told_once(
    tmp_path: Path, *, name: str, waits: dict[str, str], value: str, said: str, fires: bool
) -> None:
    parked, looked = said.split(", ")
    told = {one.replace("{", '{instance="one", '): values for one, values in waits.items()}
    labels = {"label": "x"} if name == "BillingEventsWait" else {}
    of = {
        'billing_parked{instance="one"}': parked,
        'billing_looked_timestamp_seconds{instance="one"}': f"0+15x30 450+{looked}",
        'billing_parked{instance="another"}': "1x200",
        'billing_looked_timestamp_seconds{instance="another"}': "0+15x30 450x170",
    }
    fired(tmp_path, name, told | of, {"30m": fires}, value, labels)


@pytest.mark.parametrize(("waits", "fires"), [("0x80", False), ("0x40 2x40", True)])
def test_invoices_that_nobody_charges_are_an_operators_ticket(
    tmp_path: Path, *, waits: str, fires: bool
) -> None:
    told = {'billing_waiting{what="held", label=""}': waits}
    fired(tmp_path, "BillingInvoicesHeld", told, {"5m": False, "15m": fires}, "2")


@pytest.mark.parametrize(("refused", "fires"), [("0x40 2x80", False), ("0x40 3x80", True)])
def test_a_few_deliveries_that_are_refused_page_nobody(
    tmp_path: Path, *, refused: str, fires: bool
) -> None:
    of = 'billing_webhook_deliveries_total{provider="stripe", '
    told = {
        f'{of}outcome="INVALID_SIGNATURE", instance="one"}}': refused,
        f'{of}outcome="taken", instance="another"}}': "0+1x120",
    }
    labels = {"provider": "stripe", "instance": "one"}
    fired(tmp_path, "BillingWebhooksRefused", told, {"5m": False, "15m": fires}, labels=labels)


@pytest.mark.parametrize(
    ("unsent", "refused", "fires"),
    [("2x80", "0x80", False), ("3x80", "0x80", True), ("3x80", "0+1x80", False)],
)
def test_a_provider_that_delivers_nothing_is_an_operators_ticket(
    tmp_path: Path, *, unsent: str, refused: str, fires: bool
) -> None:
    told = {
        'billing_waiting{what="unsent", label=""}': unsent,
        'billing_webhook_deliveries_total{provider="stripe", outcome="INVALID_SIGNATURE"}': refused,
    }
    fired(tmp_path, "BillingWebhooksUnsent", told, {"4m": False, "15m": fires}, "3")


@pytest.mark.parametrize(
    ("name", "what", "few"),
    [
        ("BillingPaypalUnsent", "unsent_paypal", 0),
        ("BillingChargeUnreached", "unreached", 0),
        ("BillingChargesUnreached", "unreached", 5),
    ],
)
def test_what_waits_for_minutes_is_told_from_a_number_on(
    tmp_path: Path, name: str, what: str, few: int
) -> None:
    for count, fires in ((few, False), (few + 1, True)):
        told = {f'billing_waiting{{what="{what}", label=""}}': f"{count}x40"}
        fired(tmp_path, name, told, {"4m": False, "9m": fires}, str(count))


def test_the_alert_and_the_doctor_call_as_many_failures_few() -> None:
    (asked,) = (rule["expr"] for rule in RULES if rule["alert"] == "BillingRequestsFail")
    assert set(re.findall(r">= (\d+)", asked)) == {str(rules.FAILED_FEW)}
    assert re.search(rf"> {FAILED_SHARE}\s", asked)

"""A program that cannot begin ends with one sentence and exit code 1; none says it is ready."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from devstack.options import ROOT
from devstack.stack import StackInfo, dsn

API = ("-m", "api")
WORKER = ("worker.py",)
CLOSED = "127.0.0.1:9"


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


def ended(
    stack: StackInfo, program: tuple[str, ...], **settings: str
) -> subprocess.CompletedProcess[str]:
    """The end of a program on the stack's servers, but for some settings."""
    env = {**os.environ, **stack.env, "BILLING_API_METRICS_PORT": "0"}
    return subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        env=env | settings,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def sentence_of(done: subprocess.CompletedProcess[str]) -> str:
    """The only sentence, after the lines of its log."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("program", [API, WORKER])
def test_a_database_address_that_is_none_is_named(
    stack: StackInfo, program: tuple[str, ...]
) -> None:
    said = sentence_of(ended(stack, program, DATABASE_URL="postgres//secret@nonsense"))
    assert said.startswith("DATABASE_URL is not a Postgres URL: write postgresql+psycopg://")
    assert "secret" not in said


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"TEMPORAL_ADDRESS": CLOSED}, "Connection refused"), ({"TEMPORAL_TLS": "true"}, "Invalid")],
    ids=["nobody listens", "it speaks no TLS"],
)
def test_a_worker_that_does_not_reach_temporal_says_where_it_looked_and_why(
    stack: StackInfo, settings: dict[str, str], why: str
) -> None:
    away = ended(stack, WORKER, BILLING_WORKER_METRICS_PORT="0", **settings)
    said, asked = sentence_of(away), {**stack.env, **settings}["TEMPORAL_ADDRESS"]
    assert said.startswith(f"Temporal does not answer at {asked} (")
    assert said.endswith(": is it running, and with these TLS settings?")
    assert why in said


def test_a_worker_whose_namespace_is_none_names_the_setting(stack: StackInfo) -> None:
    wrong = ended(stack, WORKER, TEMPORAL_NAMESPACE="bilking", BILLING_WORKER_METRICS_PORT="0",
                  BILLING_HOST="api.example")  # fmt: skip
    said = sentence_of(wrong)
    assert said.startswith(
        "Temporal does not serve the namespace bilking, see TEMPORAL_NAMESPACE: "
    ), said
    assert "BILLING_HOST is no setting and changes nothing: did you mean BILLING_HOSTS?" in (
        wrong.stdout
    )


def test_a_worker_whose_metrics_port_is_taken_names_the_setting(
    stack: StackInfo, taken: str
) -> None:
    said = sentence_of(ended(stack, WORKER, BILLING_WORKER_METRICS_PORT=taken))
    assert f":{taken}, set BILLING_WORKER_METRICS_PORT to a free port" in said


def test_an_api_whose_port_is_taken_never_says_that_it_is_ready(
    stack: StackInfo, taken: str
) -> None:
    done = ended(stack, API, BILLING_SERVICE_PORT=taken)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "address already in use" in said
    assert "API ready" not in said


@pytest.mark.parametrize("words", ["verify", "catalog diff", "migrate"])
def test_a_command_with_a_wrong_password_says_that_it_is_wrong(
    stack: StackInfo, words: str
) -> None:
    names = [name for name in stack.env if name.startswith("DATABASE_") and name.endswith("URL")]
    wrong = {
        name: make_url(stack.env[name]).set(password="wrong").render_as_string(hide_password=False)
        for name in names
    }
    said = sentence_of(ended(stack, ("-m", "cli", *words.split()), **wrong))
    assert said.startswith("Postgres refuses the password: see DATABASE_URL")
    assert "password authentication failed" in said


@pytest.mark.parametrize(
    "words",
    ["verify", "park --reason x", "unpark", "resume", "rebuild", "step-back"],
)
def test_a_command_whose_role_does_not_see_all_accounts_names_the_statement(
    stack: StackInfo, words: str
) -> None:
    customers = stack.env["DATABASE_URL"]
    done = ended(stack, ("-m", "cli", *words.split()), DATABASE_OPERATOR_URL=customers)
    said = sentence_of(done)
    assert said.startswith("row-level security hides rows from the role of DATABASE_OPERATOR_URL")
    assert "ALTER ROLE billing_operator BYPASSRLS" in said
    assert "docs/runbook.md#rights" in said


def test_an_api_says_that_it_is_ready_once_it_is(stack: StackInfo) -> None:
    assert "API ready on port" in (stack.logs / "api.log").read_text()


def test_the_status_has_a_word_on_each_part(stack: StackInfo) -> None:
    # APIs that other tests ran in this process, and left without a word, would count as silent.
    with psycopg.connect(dsn(stack.owner_url), autocommit=True) as owner:
        owner.execute("DELETE FROM processes WHERE pid = %s", (os.getpid(),))
    done = ended(stack, ("-m", "cli", "status"))
    assert done.returncode == 0, done.stderr
    # A part begins at the third column; what does not fit its line goes on below, further in.
    parts = [line.split() for line in done.stdout.splitlines() if line[2:3].strip()]
    words = {part[0]: part[2] for part in parts}
    named = {name: words.get(name) for name in ("Postgres", "Workers", "API", "Temporal", "Stripe")}
    assert set(named.values()) == {"healthy"}, done.stdout


def test_the_status_names_the_part_that_is_away(stack: StackInfo) -> None:
    done = ended(stack, ("-m", "cli", "status"), TEMPORAL_ADDRESS=CLOSED)
    (line,) = [one for one in done.stdout.splitlines() if one.strip().startswith("Temporal")]
    assert "unknown" in line, done.stdout

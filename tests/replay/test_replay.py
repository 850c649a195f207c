"""Yesterday's workflows under today's code: every recorded history replays to the same commands.

When a history fails here, old runs in production would be stuck. Patch the change
(`workflow.patched`) instead of recording the history anew, unless it was never released.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Interceptor, Replayer

from tests.replay.broken import HastyPurchaseWorkflow
from tests.replay.cast import CANARY, CANARY_EMAIL
from tests.replay.payloads import clear_text
from tests.replay.record import HISTORIES
from tests.replay.stories import STORIES
from worker import workflow_runner
from workflows.converter import CONVERTER
from workflows.interceptors import interceptors
from workflows.registry import WORKFLOWS
from workflows.schedules import JOBS

FILES: Final = sorted(HISTORIES.rglob("*.json"))
"""Those in `as_activities` are of runs begun before steps ran within the workflow's own task."""
TRACED: Final = interceptors(lambda: "asked", TracerProvider().get_tracer("replay"))
# What a history must never hold: addresses, keys of any provider, tokens, passwords in addresses.
SECRETS: Final = re.compile(
    r"[\w.+-]+@[\w-]+\.\w+|\b(sk|rk|pk)_(test|live)_\w+|whsec_\w+|_secret_\w+|eyJ[\w-]{10,}\."
    r"|Bearer |://\w+:\w+@|\b\d{13,19}\b"
)
MACHINE: Final = re.compile(r"/(home|root|Users|work|tmp)/")


def load(file: Path) -> WorkflowHistory:
    """A recorded history, under the id it had."""
    text = file.read_text()
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], text)


def replayer(workflows: list[type[Any]], *interceptors: Interceptor) -> Replayer:
    """As the worker runs them."""
    return Replayer(
        workflows=workflows,
        interceptors=interceptors,
        data_converter=CONVERTER,
        workflow_runner=workflow_runner(),
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HISTORIES)))
async def test_a_recorded_life_is_lived_again_command_by_command(file: Path) -> None:
    await replayer(WORKFLOWS).replay_workflow(load(file))
    await replayer(WORKFLOWS, *TRACED).replay_workflow(load(file))


def test_every_story_and_every_workflow_is_recorded() -> None:
    newest = {file.stem for file in HISTORIES.glob("*.json")}
    assert newest == set(STORIES) | {f"sweep-{job}" for job in JOBS}
    lived = {
        json.loads(file.read_text())["events"][0]["workflowExecutionStartedEventAttributes"][
            "workflowType"
        ]["name"]
        for file in FILES
    }
    assert lived == {str(workflow._Definition.must_from_class(one).name) for one in WORKFLOWS}


async def test_a_changed_order_of_commands_is_caught() -> None:
    history = load(HISTORIES / "purchase-completed.json")
    with pytest.raises(workflow.NondeterminismError):
        await replayer([HastyPurchaseWorkflow]).replay_workflow(history)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HISTORIES)))
def test_a_history_holds_no_person_no_secret_and_no_machine(file: Path) -> None:
    told = clear_text(json.loads(file.read_text()))
    assert CANARY not in told
    assert CANARY_EMAIL not in told
    assert [found.group() for found in SECRETS.finditer(told)] == []
    assert [found.group() for found in MACHINE.finditer(told)] == []

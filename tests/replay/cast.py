"""Those who live the recorded lives, and a pass of a job."""

from collections.abc import Awaitable, Callable
from typing import Final

from temporalio.client import Client

from tests.integration.actors import Actors, Customer, wait_for

START: Final = "2027-01-01T10:00:00Z"
# What must never be found in a history: every account of a story carries it.
CANARY: Final = "Quentin Zebrafinch"
CANARY_EMAIL: Final = "quentin@zebrafinch.example"
Story = Callable[[Actors], Awaitable[str]]


async def live(actors: Actors) -> Customer:
    """An account in real time."""
    return await actors.customer(name=CANARY, email=CANARY_EMAIL)


async def on_clock(actors: Actors) -> Customer:
    """One whose clock stands at the start."""
    return await actors.customer_on_clock(START, name=CANARY, email=CANARY_EMAIL)


async def subscribed(actors: Actors, plan: str = "pro") -> tuple[Customer, str]:
    """One that has just subscribed, and the id of that workflow."""
    customer = await on_clock(actors)
    active = await customer.subscribed(plan)
    return customer, f"subscription/{active['subscription_id']}"


async def sweep(client: Client, job: str) -> str:
    """One pass of a schedule's job, as the schedule started it."""
    await client.get_schedule_handle(f"billing-{job}").trigger()
    query = "WorkflowType = 'Sweep' AND ExecutionStatus = 'Completed'"

    async def ran() -> str | None:
        async for found in client.list_workflows(query):
            if found.id.startswith(f"sweep/{job}"):
                return found.id
        return None

    return await wait_for(ran, f"{job} ran") or ""

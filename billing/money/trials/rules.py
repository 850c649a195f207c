"""The agenda of an account's trial; a pure function of its row."""

from pydantic import AwareDatetime

from billing.matters.agenda import State, Step


class TrialState(State):
    """The state of one trial of credits, read from its row."""

    account: str
    """External id of the account, the stem of its keys."""
    expires_at: AwareDatetime


def agenda(state: TrialState) -> list[Step]:
    """An active trial ends at its time; any other has nothing left to do."""
    if state.status != "active":
        return []
    return [
        Step(
            name="expire",
            due=state.expires_at,
            key=f"{state.account}/trial-expire",
            words="end the trial",
        )
    ]

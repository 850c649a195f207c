"""Transitions of a trial of credits: it expires, or a paid plan converts it. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.core import ids, keys
from billing.core.money import ZERO, show_decimal
from billing.ledger.credits import verbs
from billing.matters.agenda import Step
from billing.matters.effects import Announce, Do, Facts, Rows, Wake, Work
from billing.matters.kinds import TRIAL
from billing.money.trials.rules import TrialState
from billing.money.trials.schemas import Trial


@dataclass(slots=True)
class TrialFacts(Facts):
    """Facts of a trial beside its row."""

    left: Decimal = field(default=ZERO)
    """Credits of the trial that are neither spent nor held, including those already expired."""


def view(rows: Rows, clock_at: datetime | None) -> TrialState:
    """The state that the workflow sees."""
    trial = trial_of(rows)
    ends = f"{trial.expires_at:%-d %b %Y %H:%M} UTC"
    runs = trial.status == "active"
    return TrialState(
        clock_at=clock_at,
        status=trial.status,
        words=f"trial runs until {ends}" if runs else f"trial {trial.status}",
        account=ids.encode(ids.ACCOUNT, trial.account_id),
        expires_at=trial.expires_at,
    )


def transition(w: Work[TrialFacts], step: Step) -> None:
    """End the trial: the unspent part of its lot expires; bought credits stay [D7]."""
    if step.name != "expire":
        raise ValueError(f"a trial has no step {step.name!r}")
    trial = trial_of(w.rows)
    grant_key = keys.trial_grant(trial.account_id)
    lot = verbs.ExpiredLot(account_id=trial.account_id, grant_key=grant_key, reason="trial expired")
    w.do(Do(verbs.EXPIRE_LOT, lot))
    ended = w.change(trial, status="expired", ended_at=w.facts.at)
    w.do(announcement(ended, "expired", expired=show_decimal(w.facts.left)))
    w.result = ended.status


def convert(w: Work[Facts]) -> None:
    """The first paid subscription ends the trial as converted; its lot keeps its date."""
    for trial in w.rows.of(Trial):
        if trial.status == "active":
            converted = w.change(trial, status="converted", ended_at=w.facts.at)
            w.do(announcement(converted, "converted"))
            w.do(Wake(TRIAL.workflow_id(trial.account_id)))


def trial_of(rows: Rows) -> Trial:
    """The account's one trial of credits."""
    (trial,) = rows.of(Trial)
    return trial


def announcement(trial: Trial, what: str, **detail: Any) -> Announce:
    """Return the announcement: one audit row and one `evt.billing.trial.*`."""
    subject = ids.encode(ids.TRIAL, trial.id)
    facts = {
        "trial_id": subject,
        "credits": show_decimal(trial.credits),
        "expires_at": trial.expires_at.isoformat(),
        **detail,
    }
    return Announce(trial.account_id, f"trial.{what}", subject, facts)

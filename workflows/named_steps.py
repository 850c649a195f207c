"""Steps that a signal names, for which a run has no plan."""

from temporalio import workflow

from billing.matters.agenda import Step
from billing.matters.kinds import MatterKind
from billing.platform.provider_inbox.rules import CHECK


def allowed(named: Step | None, kind: MatterKind) -> Step | None:
    """Return the named step only if it checks an event; the agenda plans all others, and an unknown
    step would halt the matter. Runs of earlier releases did any step a signal named.
    """
    if named is None:
        return None
    is_look = named.name == CHECK and named.event is not None
    if is_look and kind.handles_events:
        return named
    return None if workflow.patched("signals-call-for-looks-alone") else named

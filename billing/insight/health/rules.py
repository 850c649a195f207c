"""Health signs derived from figures: healthy, or unhealthy with text to act on. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from billing.core.connections import shortage
from billing.insight.health.schemas import Figures, Sign
from billing.insight.integrity.rules import JOB as AUDIT
from billing.platform.processes import rules as liveness
from billing.platform.processes.schemas import Deliveries, Process, ProcessKind

LATE: Final = timedelta(minutes=3)
"""By then the sweeper has woken a late matter again: its step fails, or no worker runs it."""
UNHEARD: Final = timedelta(minutes=2)
"""Events and matters are handled at once, or by the sweeper within a minute."""
IN_DOUBT: Final = timedelta(minutes=30)
"""By then a step has failed permanently."""
AUDIT_LATE: Final = timedelta(hours=3)
JOBS_LATE: Final = {
    "sweep": timedelta(minutes=15),
    "poll": timedelta(minutes=30),
    "usage-sync": timedelta(hours=3),
    "ensure-running": timedelta(hours=50),
    "housekeeping": timedelta(hours=50),
    "reconcile": timedelta(hours=50),
}
"""A job without a completed run for this long: its schedule is paused or missing, or every run
fails. The audit has its own sign.
"""
DECLINED_SHARE: Final = 0.5
"""Share of the last hour's charges; more is not the bad luck of single cards."""
DECLINED_OF: Final = 20
"""Among this few charges the share means nothing."""
FAILED_FEW: Final = 3
"""Fewer failed requests mean nothing."""
FAILED_NAMED: Final = 3
UNSENT_FEW: Final = 3
"""So many events without a webhook are no accident."""
UNCOUNTED: Final = "they could not be counted: the sign rights or the log of the API says why"
ONLY_READS: Final = (
    "the database only reads: it is a standby, or default_transaction_read_only is on"
)
NO_ROOM: Final = "its disk is full: it reads, and refuses what needs new room"
FREE_FEW: Final = 5
"""Minimum of free connections: a starting process takes two, an operator's psql one more."""


def healthy(name: str, words: str = "none") -> Sign:
    """Return a sign that is healthy."""
    return Sign(name=name, state="healthy", words=words, page=page(name))


def unhealthy(name: str, words: str) -> Sign:
    """Return a sign that is unhealthy; `words` say why."""
    return Sign(name=name, state="unhealthy", words=words, page=page(name))


def unknown(name: str, words: str) -> Sign:
    """Return a sign that could not be checked; `words` say why."""
    return Sign(name=name, state="unknown", words=words, page=page(name))


def page(name: str) -> str:
    """Return the runbook's section about a sign."""
    return f"docs/runbook.md#{name.lower().replace(' ', '-')}"


def schema(found: str | None, migrations: Sequence[str]) -> Sign:
    """Return the sign of the schema: healthy if it is the release's or a newer one.

    A newer schema is healthy: the previous release runs on it, and after a rollback all other signs
    must stay visible.
    """
    if found is None:
        return unhealthy("migrations", "the database has none: run billing migrate")
    if not migrations or found == migrations[-1]:
        return healthy("migrations", found)
    if found not in migrations:
        words = f"the database is at {found}, newer than this release: it serves there all the same"
        return healthy("migrations", words)
    words = f"the database is at {found}, this release needs {migrations[-1]}"
    return unhealthy("migrations", words)


def signs(figures: Figures) -> tuple[Sign, ...]:
    """Return every sign that the rows and processes give."""
    return (
        _written(figures),
        _serving(figures, "worker"),
        _serving(figures, "api"),
        _requests(figures),
        _clocks(figures),
        _pools(figures),
        _keys(figures),
        _settings(figures),
        _switch(figures),
        _parking(figures),
        _none(figures, "halted matters", "halted"),
        _young(figures, "late steps", "overdue", LATE),
        _young(figures, "untold matters", "untold", UNHEARD),
        _young(figures, "waiting events", "events", UNHEARD),
        _none(figures, "parked events", "parked"),
        _webhooks(figures),
        _young(figures, "undecided payments", "undecided", IN_DOUBT),
        _none(figures, "unreached charges", "unreached"),
        _declines(figures),
        _config(figures),
        _audited(figures),
        _jobs(figures),
        _none(figures, "held invoices", "held"),
        _none(figures, "missing months", "months"),
        _none(figures, "unanswered taxes", "unanswered_taxes"),
        _information(figures, "approvals"),
        _information(figures, "migration requests", "migration_requests"),
        _information(figures, "unpaid uses", "unpaid_uses"),
        _none(figures, "discrepancies", "discrepancies"),
        _gone(figures),
    )


def _written(figures: Figures) -> Sign:
    """Check that Postgres accepts writes, and that it has what was committed before."""
    if not figures.takes_writes:
        return unhealthy("database", ONLY_READS)
    if not figures.has_room:
        return unhealthy("database", NO_ROOM)
    if bereft := liveness.bereft(figures.processes, figures.at):
        named = ", ".join(one.name for one in bereft)
        return unhealthy("database", f"it lacks commits of {named}: go on as after a restore")
    return healthy("database", "takes what is written")


def ago(age: timedelta) -> str:
    """Return an age in its largest unit: `40 s`, `12 min`, `3 h`, `5 days`.

    What another clock has dated ahead is `0 s`.
    """
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _serving(figures: Figures, kind: ProcessKind) -> Sign:
    """Check that a process of this kind runs, and that none has gone silent."""
    found, now = figures.processes, figures.at
    gone = liveness.silent(found, kind, now)
    if gone:
        named = "; ".join(f"{one.name}, last seen {ago(now - one.seen_at)} ago" for one in gone)
        why = "it hangs, was killed, or cannot write"
        if not figures.takes_writes:
            why = ONLY_READS
        return unhealthy(kind, f"silent: {named}: {why}")
    there = liveness.alive(found, kind, now)
    if not there:
        return unhealthy(kind, f"no {kind} runs on this database")
    return healthy(kind, ", ".join(f"{one.pid} on {one.host} ({one.version})" for one in there))


def _requests(figures: Figures) -> Sign:
    """Check that requests get no server errors, except single ones."""
    failing = liveness.failing(figures.processes, figures.at)
    failed = sum(one.failed for one in failing)
    if failed < FAILED_FEW:
        return healthy("requests", "answered without errors of ours, single ones apart")
    codes = sum((Counter(one.codes) for one in failing), Counter[str]())
    by_code = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    worst = "; ".join(
        f"{one.route} {one.failed} of {one.answered}" for one in failing[:FAILED_NAMED]
    )
    more = len(failing) - FAILED_NAMED
    others = f"; and {more} other routes" if more > 0 else ""
    answered = sum(one.answered for one in failing)
    return unhealthy(
        "requests",
        f"{failed} of {answered} of the last five minutes failed ({by_code}): {worst}{others}",
    )


def _clocks(figures: Figures) -> Sign:
    astray = liveness.astray(figures.processes, figures.at)
    if astray:
        named = "; ".join(map(liveness.strayed, astray))
        return unhealthy("clocks", f"not the database's: {named}")
    return healthy("clocks", "those of all processes agree with the database's")


def _pools(figures: Figures) -> Sign:
    full = liveness.crowded(figures.processes, figures.at)
    if full:
        named = "; ".join(f"{name} of {one.name}" for one, name in full)
        return unhealthy("pools", f"every connection is in use: {named}")
    if figures.connections is not None:
        asked = liveness.wanted(figures.processes, figures.at)
        if said := shortage(*asked, figures.connections):
            return unhealthy("pools", said)
    if figures.free is not None and figures.free < FREE_FEW:
        most = ", ".join(f"{count} by {role}" for role, count in list(figures.taken.items())[:3])
        return unhealthy("pools", f"Postgres gives {figures.free} more connections: {most}")
    for pool, limit in sorted(figures.role_limits.items()):
        taken = liveness.wanted_of(figures.processes, figures.at, pool)
        if taken > limit:
            return unhealthy(
                "pools",
                f"the pools may take {taken} connections as billing_{pool} and Postgres gives this"
                f" role {limit}: ALTER ROLE billing_{pool} CONNECTION LIMIT -1",
            )
    return healthy("pools", "connections are free in each")


def _keys(figures: Figures) -> Sign:
    """Check that each provider accepts the key of every process."""
    if refused := liveness.refused(figures.processes, figures.at):
        named = "; ".join(
            f"{provider} that of {one.name} for {ago(figures.at - since)}"
            + liveness.unknown(one, provider)
            for one, provider, since in refused
        )
        return unhealthy("provider keys", f"refused: {named}")
    return healthy("provider keys", "no process was refused")


def _settings(figures: Figures) -> Sign:
    """Check that all processes have the same values of what they must share."""
    differing = liveness.differing(figures.processes, figures.at)
    if not differing:
        return healthy("settings", "all processes have the same values of what they must share")
    said = [
        f"{setting}: "
        + ", ".join(
            f"{value} of {' and '.join(one.name for one in processes)}"
            for value, processes in sorted(by_value.items(), key=lambda item: len(item[1]))
        )
        for setting, by_value in differing.items()
    ]
    return unhealthy("settings", f"processes differ in {'; '.join(said)}")


def _switch(figures: Figures) -> Sign:
    """Check that billing is switched on in every process."""
    off = liveness.switched_off(figures.processes, figures.at)
    if off:
        named = ", ".join(one.name for one in off)
        words = "such an API answers customers 404, such a worker charges nothing new"
        return unhealthy("switch", f"BILLING_ENABLED is false in {named}: {words}")
    return healthy("switch", "billing is switched on")


def _parking(figures: Figures) -> Sign:
    """Check that billing is not parked."""
    parking = figures.parking
    if parking is None:
        return healthy("parking", "money may move")
    since = ago(figures.at - parking.parked_at)
    return unhealthy("parking", f"nothing moves money for {since}: {parking.reason}")


def _webhooks(figures: Figures) -> Sign:
    """Check that each process accepted each provider's last delivery, and that both deliver.

    What others took is no evidence: each process has its own copy of the secret.
    """
    refusing = liveness.refusing(figures.processes, figures.at)
    if refusing:
        return unhealthy("webhooks", "; ".join(_refusal(*one, figures.at) for one in refusing))
    unsent = figures.backlog("unsent")
    if unsent.count >= UNSENT_FEW and unsent.oldest is not None and unsent.oldest > UNHEARD:
        return unhealthy(
            "webhooks",
            f"Stripe delivers none: the poll alone found its last {unsent.count} events",
        )
    if told := figures.backlog("unsent_paypal").examples:
        return unhealthy("webhooks", f"PayPal told nothing of captures: {'; '.join(told)}")
    if {"unsent", "unsent_paypal"} & set(figures.uncounted):
        return unknown("webhooks", UNCOUNTED)
    taken = liveness.last_taken(figures.processes)
    if not taken:
        return healthy("webhooks", "none came to the processes that run now")
    last = (f"{provider} {ago(figures.at - at)} ago" for provider, at in sorted(taken.items()))
    return healthy("webhooks", f"last taken: {', '.join(last)}")


def _refusal(process: Process, one: Deliveries, now: datetime) -> str:
    return (
        f"{process.name} refused {one.count} of {one.provider} as {one.outcome},"
        f" the last {ago(now - one.last_at)} ago, and took none since"
    )


def _declines(figures: Figures) -> Sign:
    """Check the share of declined cards, as the alert does."""
    if "charges" in figures.uncounted:
        return unknown("mass declines", UNCOUNTED)
    tried = sum(one.count for one in figures.charges)
    declined = [one for one in figures.charges if one.outcome == "declined"]
    count = sum(one.count for one in declined)
    words = f"{count} of {tried} charges of the last hour were declined"
    if tried <= DECLINED_OF or count <= DECLINED_SHARE * tried:
        return healthy("mass declines", words)
    classes = ", ".join(f"{one.count} {one.decline_class or 'without a class'}" for one in declined)
    return unhealthy("mass declines", f"{words}: {classes}")


def _config(figures: Figures) -> Sign:
    """Check that no saved card is declined because of our provider account or its settings."""
    if "charges" in figures.uncounted:
        return unknown("config declines", UNCOUNTED)
    count = sum(one.count for one in figures.charges if one.decline_class == "config")
    if not count:
        return healthy("config declines")
    return unhealthy(
        "config declines",
        f"of the last hour's charges our account at the provider or its settings declined {count}",
    )


def _audited(figures: Figures) -> Sign:
    """Check that the hourly audit ran lately and found no fault; `billing verify` runs one now."""
    run = figures.books
    if run is None:
        tried = figures.looked.get(AUDIT)
        if tried is not None and figures.at - tried > AUDIT_LATE:
            since = ago(figures.at - tried)
            return unhealthy("hourly audit", f"none has ended well since {since} ago")
        if _never_ran(figures, AUDIT, AUDIT_LATE):
            return unhealthy("hourly audit", "none was ever begun, though a worker runs")
        return healthy("hourly audit", "none yet")
    of = f" of {run.accounts} accounts" if run.accounts is not None else ""
    words = f"{run.checks} checks{of}, {ago(figures.at - run.ran_at)} ago"
    if run.wrong:
        return unhealthy("hourly audit", f"{words}; not so: {'; '.join(run.wrong)}")
    if figures.at - run.ran_at > AUDIT_LATE:
        return unhealthy("hourly audit", f"{words}: none ran since")
    return healthy("hourly audit", words)


def _none(figures: Figures, name: str, backlog: str) -> Sign:
    """Check that the backlog is empty; else list the first few."""
    if backlog in figures.uncounted:
        return unknown(name, UNCOUNTED)
    found = figures.backlog(backlog)
    if found.count:
        return unhealthy(name, f"{found.count}: {'; '.join(found.examples)}")
    return healthy(name)


def _young(figures: Figures, name: str, backlog: str, limit: timedelta) -> Sign:
    """Check that nothing in the backlog waits for longer than `limit`."""
    if backlog in figures.uncounted:
        return unknown(name, UNCOUNTED)
    found = figures.backlog(backlog)
    if found.oldest is not None and found.oldest > limit:
        named = "; ".join(found.examples)
        return unhealthy(name, f"{found.count}, the oldest for {ago(found.oldest)}: {named}")
    return healthy(name, f"{found.count} within their time" if found.count else "none")


def _jobs(figures: Figures) -> Sign:
    """Check that each scheduled job has covered recent data."""
    late = [
        f"{job} at nothing of the last {ago(figures.at - looked)}"
        for job, looked in sorted(figures.looked.items())
        if figures.at - looked > JOBS_LATE.get(job, timedelta.max)
    ]
    never = [job for job, limit in JOBS_LATE.items() if _never_ran(figures, job, limit)]
    late += [f"{job} never, though a worker runs" for job in sorted(never)]
    if late:
        return unhealthy("jobs", f"looked: {', '.join(late)}")
    return healthy("jobs", "each that repeats has looked at what came")


def _never_ran(figures: Figures, job: str, limit: timedelta) -> bool:
    """True for a job that was never begun while a worker has run for longer than it may take."""
    workers = liveness.alive(figures.processes, "worker", figures.at)
    begun = (figures.at - one.started_at > limit for one in workers)
    return job not in figures.looked and any(begun)


def _information(figures: Figures, name: str, backlog: str | None = None) -> Sign:
    """Report the backlog's number and age for information; the sign is always healthy."""
    if (backlog or name) in figures.uncounted:
        return unknown(name, UNCOUNTED)
    found = figures.backlog(backlog or name)
    if found.oldest is None:
        return healthy(name)
    return healthy(name, f"{found.count}, the oldest for {ago(found.oldest)}")


def _gone(figures: Figures) -> Sign:
    """Name the accounts whose customer was deleted at Stripe, for information."""
    sign = _information(figures, "deleted customers", "customers")
    found = figures.backlog("customers")
    if not found.count:
        return sign
    return sign.model_copy(update={"words": f"{sign.words}: {'; '.join(found.examples)}"})

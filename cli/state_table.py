"""The state table of subscriptions as Markdown, from the one table in code."""

from typing import Final

from rich.console import Console

from billing.money.subscriptions.states import COMMANDS, ROUTES, TABLE

REPLIES: Final = {
    "yes": "yes",
    "end": "at period end",
    "later": "for the resumption",
    "overdue": "409 `PAYMENT_OVERDUE`",
    "replace": "replaces it",
    "no": "-",
}


def render() -> str:
    """The page docs/subscription-states.md."""
    head = ["state", *COMMANDS]
    lines = [
        "# What each state answers to each command",
        "",
        "Made by `billing states` from `billing/money/subscriptions/states.py`;",
        "a test keeps them equal.",
        "A pair marked - answers 409 `SUBSCRIPTION_STATE` with the state and what it takes;",
        "a second `subscribe` answers 409 `SUBSCRIPTION_EXISTS`. `pay` is about an invoice:",
        "where nothing is owed it answers `INVOICE_ALREADY_PAID`, `INVOICE_STATE` or",
        "`INVOICE_NOT_FOUND`.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for state, row in TABLE.items():
        cells = [REPLIES[row[command]] for command in COMMANDS]
        lines.append(f"| {' | '.join([state, *cells])} |")
    lines += ["", "| command | route under `/api/v1` | |", "|---|---|---|"]
    for command in COMMANDS:
        route, words = ROUTES[command]
        lines.append(f"| {command} | `{route}` | {words} |")
    return "\n".join([*lines, ""])


def states() -> None:
    """Print how each state of a subscription takes each command."""
    Console(soft_wrap=True).print(render(), end="", markup=False, highlight=False)

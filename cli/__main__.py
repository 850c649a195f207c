"""The command `billing`: one line here per verb, the work elsewhere.

Run it from the project's folder; it finds the running stack by itself.
"""

from typing import Annotated

import typer

from billing.core.process_end import run_and_end
from billing.core.settings import VERSION
from cli import (
    catalog_commands,
    clock_commands,
    contract_commands,
    invoice_commands,
    refund_command,
    repair_commands,
    stack_commands,
    state_table,
    subscription_commands,
    usage_commands,
)
from devstack.demo import show

app = typer.Typer(
    name="billing",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def show_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Show it.")
    ] = False,
) -> None:
    """Durable billing: run it, look at it, repair it."""


app.command()(stack_commands.up)
app.command()(stack_commands.down)
app.command()(stack_commands.status)
app.command()(show.demo)
app.command()(state_table.states)
app.command()(stack_commands.doctor)
app.command()(stack_commands.token)
app.command()(stack_commands.migrate)
app.command()(repair_commands.verify)
app.command()(repair_commands.rebuild)
app.command()(repair_commands.ask_taxes)
app.command()(refund_command.refund)
app.add_typer(catalog_commands.app, name="catalog")
app.add_typer(clock_commands.app, name="clock")
app.add_typer(contract_commands.app, name="contract")
app.add_typer(invoice_commands.app, name="invoice")
app.add_typer(subscription_commands.app, name="subscription")
app.add_typer(usage_commands.app, name="usage")


def main() -> None:
    """Entry point of the installed command."""
    run_and_end(app)


if __name__ == "__main__":
    main()

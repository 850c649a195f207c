"""The command `billing`: registers each verb; other modules do the work.

Run it from the project's folder; it finds the running stack by itself.
"""

from typing import Annotated

import typer

from billing.core import context
from billing.core.process_end import run_and_end
from billing.core.settings import VERSION
from cli import (
    catalog_commands,
    clock_commands,
    contract_commands,
    error_table,
    event_table,
    invoice_commands,
    lock_commands,
    month_commands,
    refund_command,
    repair_commands,
    stack_commands,
    state_table,
    steer_command,
    subscription_commands,
    usage_commands,
)
from cli.project import HAS_STACK

app = typer.Typer(
    name="billing",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def show_version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def start(
    call: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Show it.")
    ] = False,
) -> None:
    """Durable billing: run, inspect and repair it."""
    # The audit names the verb that wrote a row.
    before = context.actor.set(f"operator:{call.invoked_subcommand}")
    call.call_on_close(lambda: context.actor.reset(before))


if HAS_STACK:
    from cli import dev_commands
    from devstack.demo import show

    app.command()(dev_commands.up)
    app.command()(dev_commands.down)
    app.command()(show.demo)
app.command()(state_table.states)
app.command()(error_table.errors)
app.command()(event_table.events)
app.command()(stack_commands.status)
app.command()(stack_commands.doctor)
app.command()(stack_commands.token)
app.command()(stack_commands.migrate)
app.command()(repair_commands.verify)
app.command()(repair_commands.rebuild)
app.command()(repair_commands.resume)
app.command()(repair_commands.park)
app.command()(repair_commands.unpark)
app.command()(repair_commands.catch_up)
app.command()(repair_commands.skip_numbers)
app.command()(repair_commands.step_back)
app.command()(repair_commands.ask_taxes)
app.command()(refund_command.refund)
app.command()(steer_command.steer)
app.add_typer(catalog_commands.app, name="catalog")
app.add_typer(clock_commands.app, name="clock")
app.add_typer(contract_commands.app, name="contract")
app.add_typer(invoice_commands.app, name="invoice")
app.add_typer(lock_commands.app, name="locks")
app.add_typer(month_commands.app, name="months")
app.add_typer(subscription_commands.app, name="subscription")
app.add_typer(usage_commands.app, name="usage")


def main() -> None:
    """Entry point of the installed command."""
    run_and_end(app)


if __name__ == "__main__":
    main()

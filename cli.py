"""The command `billing`: one line here per verb, the work elsewhere.

Run it from the project's folder; it finds the running stack by itself.
"""

import typer

from embedded import (
    catalog_commands,
    clock_commands,
    commands,
    repair_commands,
    state_table,
    usage_commands,
)
from embedded.demo import show

app = typer.Typer(
    name="billing",
    help="Durable billing: run it, look at it, repair it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(commands.up)
app.command()(commands.down)
app.command()(commands.status)
app.command()(show.demo)
app.command()(state_table.states)
app.command()(commands.doctor)
app.command()(commands.token)
app.command()(commands.migrate)
app.command()(repair_commands.verify)
app.command()(repair_commands.rebuild)
app.add_typer(catalog_commands.app, name="catalog")
app.add_typer(clock_commands.app, name="clock")
app.add_typer(usage_commands.app, name="usage")

if __name__ == "__main__":
    app()

"""The verbs `billing contract …`: an account's contract, by the API."""

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from cli.errors import StackError
from cli.operator_client import Json, content, operator, segment
from cli.stack_commands import Account, Data, reporting_errors

app = typer.Typer(help="The contract with one account.", no_args_is_help=True)


@app.command()
def show(account: Account, data: Data = None) -> None:
    """Print the contract in force, or the next one."""
    _ask(data, "GET", account)


@app.command()
def put(
    account: Account,
    file: Annotated[Path, typer.Argument(exists=True, help="YAML or JSON, as the API takes it.")],
    data: Data = None,
) -> None:
    """Set the contract from a file, replacing the previous one."""
    with reporting_errors():
        terms = _read(file)
    _ask(data, "PUT", account, terms)


@app.command()
def end(account: Account, data: Data = None) -> None:
    """End the contract now; existing purchases keep their price."""
    _ask(data, "DELETE", account)


def _read(file: Path) -> Json:
    try:
        terms: Json = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StackError(f"{file.name}: not YAML: {' '.join(str(error).split())}") from error
    return terms


def _ask(data: Path | None, method: str, account: str, body: Json | None = None) -> None:
    with reporting_errors(), operator(data) as client:
        answer = client.request(method, f"/admin/accounts/{segment(account)}/contract", json=body)
        typer.echo(json.dumps(content(answer), indent=2))

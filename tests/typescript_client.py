"""Make the types of clients/typescript anew from the API document, and build its package.

`make client-typescript` runs this; it needs node and npm. `schema.ts` says which shape of the
document it was made from, so that a test sees a stale one without node.
"""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from devstack.options import ROOT
from tests.api_document import DOCUMENT

CLIENT: Final = ROOT / "clients" / "typescript"
SCHEMA: Final = CLIENT / "src" / "schema.ts"
BUILD: Final = ROOT / "build" / "typescript"
_PROBLEM: Final = "application/problem+json"
_WORDS: Final = frozenset({"description", "summary", "example", "examples", "title", "info"})
_MARK: Final = "// Made by `make client-typescript` from the API document of shape {}.\n"


def for_types(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every refusal as one: its types are a third as long."""
    problem = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
    refusal = {"description": "The request was refused", "content": {_PROBLEM: problem}}
    paths = {
        path: {method: _short(operation) for method, operation in operations.items()}
        for path, operations in document["paths"].items()
    }
    components = document["components"] | {"responses": {"Refusal": refusal}}
    return document | {"paths": paths, "components": components}


def _short(operation: dict[str, Any]) -> dict[str, Any]:
    answers = {
        status: {name: one for name, one in answer.items() if name != "headers"}
        for status, answer in operation["responses"].items()
        if status < "4"
    }
    answers["default"] = {"$ref": "#/components/responses/Refusal"}
    return operation | {"responses": answers}


def mark(document: dict[str, Any]) -> str:
    """The first line of `schema.ts`: what it was made from, words aside."""
    shape = json.dumps(_shape(for_types(document)), sort_keys=True)
    return _MARK.format(hashlib.sha256(shape.encode()).hexdigest()[:16])


def _shape(part: Any, *, named: bool = False) -> Any:
    """The part without words for people; a field may have the name of such a member."""
    if isinstance(part, list):
        return [_shape(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _shape(one, named=name == "properties")
        for name, one in part.items()
        if named or name not in _WORDS
    }


def schema_text(document: dict[str, Any], generator: Path) -> str:
    """The types, made by the package that is installed in a folder."""
    BUILD.mkdir(parents=True, exist_ok=True)
    given, made = BUILD / "openapi.json", BUILD / "schema.ts"
    given.write_text(json.dumps(for_types(document)))
    program = generator / "node_modules" / ".bin" / "openapi-typescript"
    # What has a default may be left out of a body; answers have all their fields.
    more = ("--default-non-nullable", "false")
    subprocess.run([program, given, "--output", made, *more], check=True, capture_output=True)
    return mark(document) + made.read_text()


def types_alone(text: str) -> str:
    """The types without comments, which tell of words that may be older."""
    return re.sub(r"/\*\*.*?\*/\s*", "", text, flags=re.DOTALL)


def install(folder: Path) -> None:
    """Install the packages that build the client. No lock file is kept: it names hosts."""
    npm("install", "--no-package-lock", "--no-audit", "--no-fund", "--silent", folder=folder)


def npm(*words: str, folder: Path) -> str:
    """Run npm in a folder; its words."""
    done = subprocess.run(["npm", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"npm {words[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Generate and pack; npm builds it before it packs."""
    install(CLIENT)
    SCHEMA.write_text(schema_text(DOCUMENT, CLIENT))
    shutil.rmtree(CLIENT / "dist", ignore_errors=True)
    npm("pack", "--pack-destination", str(BUILD), folder=CLIENT)


if __name__ == "__main__":
    main()

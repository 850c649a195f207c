"""The software bill of materials: every package of the production image, in CycloneDX.

`python -m devstack.sbom` writes build/sbom.json from the lock files, the same for the same locks.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from billing.core.settings import VERSION
from devstack.options import ROOT

LOCKS: Final = ("requirements.lock", "requirements-months.lock", "requirements-otel.lock")
"""The lock files that the production image is installed from."""
_PIN: Final = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)")
_HASH: Final = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")


def bill(locks: list[str]) -> dict[str, Any]:
    """Return the document; a package with several files has the digest of each."""
    components: dict[str, dict[str, Any]] = {}
    for text in locks:
        for component in _components(text):
            components[component["purl"]] = component
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "durable-billing",
                "name": "durable-billing",
                "version": VERSION,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [components[purl] for purl in sorted(components)],
    }


def _components(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if pin := _PIN.match(line):
            name, version = pin["name"].lower(), pin["version"]
            purl = f"pkg:pypi/{name}@{version}"
            known = {"type": "library", "bom-ref": purl, "name": name, "version": version}
            found.append({**known, "purl": purl, "hashes": []})
        if digest := _HASH.search(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest["digest"]})
    return found


def write(folder: Path) -> Path:
    """Write sbom.json into a folder."""
    folder.mkdir(exist_ok=True)
    file = folder / "sbom.json"
    document = bill([(ROOT / name).read_text() for name in LOCKS])
    file.write_text(json.dumps(document, indent=2) + "\n")
    return file


if __name__ == "__main__":
    write(ROOT / "build")

"""The delivered alerts, and Prometheus's own word of when they fire."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
import yaml

from devstack.options import ROOT

ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yml"
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load(ALERTS.read_text())["groups"]
RULES: Final = [rule for group in GROUPS for rule in group["rules"]]
VALUE: Final = re.compile(r"\{\{ \$value [^}]*\}\}")


def promtool(*words: str) -> None:
    """Ask Prometheus's own tool; it must agree."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def fired(
    folder: Path,
    name: str,
    series: dict[str, str],
    fires: dict[str, bool],
    value: str = "",
    labels: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """An alert fires at these times with this value, and not at those, by Prometheus's own word."""
    (rule,) = (rule for rule in RULES if rule["alert"] == name)
    said = {key: VALUE.sub(value, words) for key, words in rule["annotations"].items()}
    for label, words in labels.items():
        said = {
            key: text.replace(f"{{{{ $labels.{label} }}}}", words) for key, text in said.items()
        }
    alert = {"exp_labels": rule["labels"] | labels, "exp_annotations": said}
    looks = [
        {"eval_time": at, "alertname": name, "exp_alerts": [alert] * is_up}
        for at, is_up in fires.items()
    ]
    given = [{"series": one, "values": values} for one, values in series.items()]
    test = {
        "interval": "15s", "input_series": given, "alert_rule_test": looks,
    }  # fmt: skip
    file = folder / "test.yml"
    whole = {"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [test]}
    file.write_text(yaml.safe_dump(whole))
    promtool("test", "rules", str(file))

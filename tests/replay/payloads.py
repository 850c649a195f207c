"""The payloads inside a recorded history, in clear."""

import base64
import json
from collections.abc import Iterator
from typing import Any


def clear_text(history: Any) -> str:
    """Every string of a history, payloads decoded."""
    return "\n".join(_strings(history))


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "data" and isinstance(value, str):
                yield base64.b64decode(value).decode("utf-8", "replace")
            else:
                yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)
    else:
        yield json.dumps(node) if not isinstance(node, str) else node


def steps_at_once(events: list[Any]) -> list[str]:
    """The steps that ran within the workflow's own tasks, failed or not, in their order."""
    markers = (event.get("markerRecordedEventAttributes", {}) for event in events)
    told = (
        one["details"]["data"]["payloads"][0]["data"]
        for one in markers
        if one.get("markerName") == "core_local_activity"
    )
    return [json.loads(base64.b64decode(one))["activity_type"] for one in told]

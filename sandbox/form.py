"""Reads Stripe's bracketed forms: `items[0][price]=p`, `metadata[a]=1`, `expand[]=x`.

The tree contains only strings and dictionaries. The declared parameters decide what is a list or
a number, so a metadata key may be a digit.
"""

from urllib.parse import parse_qsl

from sandbox import problems
from sandbox.shapes import Json

MAX_FIELDS = 1_000
MAX_DEPTH = 8


def decode(text: str) -> Json:
    """Turn a form body or a query string into a tree.

    `a[b][0]=x` gives `{"a": {"b": {"0": "x"}}}`; `a[]=x` takes the next free number.
    Raises a 400 for unbalanced brackets and for one name used both as value and as object.
    """
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise problems.invalid(f"At most {MAX_FIELDS} parameters are read.") from None
    tree: Json = {}
    for key, value in pairs:
        if "[" not in key:
            _put(tree, key, value, key)
            continue
        *parents, last = _path(key)
        branch = tree
        for part in parents:
            branch = _descend(branch, part, key)
        _put(branch, _position(branch, last), value, key)
    return tree


def _path(key: str) -> list[str]:
    head, _, rest = key.partition("[")
    if not head or not rest.endswith("]"):
        raise problems.invalid(f"Invalid parameter name: {key}", key)
    path = [head, *rest[:-1].split("][")]
    if len(path) > MAX_DEPTH or any("[" in part or "]" in part for part in path):
        raise problems.invalid(f"Invalid parameter name: {key}", key)
    return path


def _position(branch: Json, part: str) -> str:
    return part or str(len(branch))


def _descend(branch: Json, part: str, key: str) -> Json:
    child = branch.setdefault(_position(branch, part), {})
    if not isinstance(child, dict):
        raise problems.invalid(f"Invalid object: {key}", key)
    return child


def _put(branch: Json, part: str, value: str, key: str) -> None:
    if isinstance(branch.get(part), dict):
        raise problems.invalid(f"Invalid object: {key}", key)
    branch[part] = value

"""The frame around every operation: key, fault, idempotency, transaction, journal, answer.

Everything from the first row read to the last row written happens in one SQLite transaction.
"""

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox import expansion, idempotency, journal, parameters, problems
from sandbox.bells import Bells
from sandbox.calls import Call, Operation
from sandbox.problems import ApiError
from sandbox.settings import API_VERSION, Settings
from sandbox.shapes import Json, new_id
from sandbox.store import Store

logger = logging.getLogger(__name__)

LIVE_KEYS = ("sk_live_", "rk_live_", "pk_live_")
SECRET_KEYS = ("sk_test_", "rk_test_")


@dataclass
class Incoming:
    """One request as it came in."""

    operation: Operation
    path: str
    names: dict[str, str]
    """The ids in the path."""
    raw: Json
    """The decoded form or query, all strings."""
    key: str | None = None
    publishable: bool = False
    actor: str = "api"
    """The caller: api, client (a browser), person (a page or the control plane)."""
    request: str = field(default_factory=lambda: new_id("req"))

    @property
    def endpoint(self) -> str:
        """Method and path, as idempotency keys are bound to."""
        return f"{self.operation.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """An answer to one request."""

    status: int
    body: Json
    replayed: bool = False


Check = Callable[[Incoming, Json | None, Answer], None]
"""Looks at a finished exchange: the request, its typed parameters, the answer."""


def authorize(header: str | None, version: str | None, operation: Operation) -> bool:
    """Check the key and the API version; return whether the key is publishable."""
    key = _key(header or "")
    if not key:
        raise problems.unauthorized(
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer sk_test_…')."
        )
    if key.startswith(LIVE_KEYS):
        raise problems.unauthorized(
            "This is the sandbox: it refuses live keys. Use a key that starts with sk_test_."
        )
    publishable = key.startswith("pk_test_")
    if not publishable and not key.startswith(SECRET_KEYS):
        raise problems.unauthorized(f"Invalid API Key provided: {key[:7]}***")
    if publishable and not operation.publishable:
        raise problems.unauthorized(
            "This API call cannot be made with a publishable API key. Please use a secret API key.",
            "secret_key_required",
        )
    if version not in (None, API_VERSION):
        raise problems.invalid(
            f"Invalid Stripe API version: {version}. This sandbox speaks {API_VERSION} only."
        )
    return publishable


def _key(header: str) -> str:
    """Return the key of a Bearer header, or the user of a Basic one, as `curl -u` sends it."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


class Envelope:
    """Runs operations; one per process."""

    def __init__(self, store: Store, settings: Settings, bells: Bells, check: Check | None) -> None:
        self.store = store
        self.settings = settings
        self._bells = bells
        self._check = check

    def subjects(self, incoming: Incoming) -> list[Json]:
        """Return what a fault may match on: the parameters, and the object that the path names."""
        named = [self.store.find(object_id) for object_id in incoming.names.values()]
        return [incoming.raw, *(body for body in named if body)]

    def execute(self, incoming: Incoming, forced: ApiError | None = None) -> Answer:
        """Run, or replay, one request and write it down.

        `forced` replaces the answer after the effect, like a server that fails at the very
        end.
        """
        params: list[Json] = []
        try:
            with self.store.transaction():
                answer = self._replay_or_run(incoming, params, forced)
                self.note(incoming, answer)
        except ApiError as refused:
            answer = self.refuse(incoming, refused)
        except Exception:
            logger.exception("%s failed", incoming.endpoint)
            answer = self.refuse(incoming, problems.server_error())
        self._bells.ring()
        if self._check and not answer.replayed:
            self._check(incoming, params[0] if params else None, answer)
        return answer

    def refuse(
        self, incoming: Incoming, refused: ApiError, fault: str | None = None, *, keep: bool = False
    ) -> Answer:
        """Answer without running; with `keep` the answer is stored under the key."""
        answer = Answer(refused.status, refused.body)
        with self.store.transaction():
            if keep and incoming.key:
                self._keep(incoming, answer)
            self.note(incoming, answer, fault)
        return answer

    def note(self, incoming: Incoming, answer: Answer | None, fault: str | None = None) -> None:
        """Record the request in the journal; None: the client got no answer."""
        error = (answer.body.get("error") or {}) if answer else {}
        subject = answer.body if answer and not error else _subject_of(incoming, error)
        journal.write(
            self.store,
            "request",
            f"{incoming.operation.method} {incoming.operation.path}",
            subject,
            request=incoming.request,
            key=incoming.key,
            details={
                "path": incoming.path,
                "params": incoming.raw,
                "status": answer.status if answer else None,
                "code": error.get("code"),
                "replayed": bool(answer and answer.replayed),
                "fault": fault,
                "actor": incoming.actor,
            },
        )

    def _replay_or_run(
        self, incoming: Incoming, params: list[Json], forced: ApiError | None
    ) -> Answer:
        if incoming.key:
            print_ = idempotency.fingerprint(incoming.endpoint, incoming.raw)
            kept = idempotency.lookup(self.store, incoming.key, incoming.endpoint, print_)
            if kept:
                return Answer(kept.status, kept.body, replayed=True)
        answer = self._run(incoming, params)
        if forced:
            answer = Answer(forced.status, forced.body)
        if incoming.key:
            self._keep(incoming, answer)
        return answer

    def _run(self, incoming: Incoming, params: list[Json]) -> Answer:
        fields = incoming.operation.fields
        if not incoming.publishable and incoming.operation.method == "POST":
            fields = {name: shape for name, shape in fields.items() if name != "client_secret"}
        typed = parameters.read(fields, incoming.raw)
        params.append({**typed})
        call = Call(
            self.store,
            self.settings,
            incoming.request,
            incoming.key,
            incoming.names,
            typed,
            incoming.publishable,
        )
        try:
            body = incoming.operation.run(call)
        except ApiError as declined:
            if not declined.executed:
                raise
            return Answer(declined.status, declined.body)
        if typed.get("expand"):
            expansion.expand(self.store, body, typed["expand"])
        return Answer(200, body)

    def _keep(self, incoming: Incoming, answer: Answer) -> None:
        print_ = idempotency.fingerprint(incoming.endpoint, incoming.raw)
        idempotency.keep(
            self.store, incoming.key or "", incoming.endpoint, print_, answer.status, answer.body
        )


def _subject_of(incoming: Incoming, error: Json) -> Json:
    """Return the object that a refused request is about, as far as it names one."""
    intent = error.get("payment_intent") or error.get("setup_intent")
    if isinstance(intent, dict):
        return intent
    named = next(iter(incoming.names.values()), None)
    metadata = incoming.raw.get("metadata")
    return {
        "id": named,
        "customer": incoming.raw.get("customer"),
        "metadata": metadata if isinstance(metadata, dict) else {},
    }

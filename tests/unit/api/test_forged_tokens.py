"""Forty tokens nobody should believe, at three doors: one and the same 401 [reliability T1]."""

import asyncio
import json
import time
from collections.abc import Callable

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from pydantic import ValidationError

from api.app import create_app
from api.identity.auth import Unauthenticated
from cli.tokens import mint_token
from tests.unit.api.conftest import SECRET, lonely_settings
from tests.unit.api.forging import NOW, claims, handmade, part, signed

DOORS = [
    ("GET", "/api/v1/admin/accounts"),
    ("POST", "/api/v1/admin/accounts"),
    ("GET", "/api/v1/admin/accounts/acc_00000000000000000000000000"),
]
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def without_signature(token: str) -> str:
    return token.rpartition(".")[0] + "."


def tampered(token: str) -> str:
    head, _, tail = token.split(".")
    return f"{head}.{part(claims(account_id='someone-else', roles=['billing']))}.{tail}"


TWICE = '{"sub":"m","account_id":"a","account_id":"*",' + json.dumps(
    claims(sub=..., account_id=...)
).removeprefix("{")

FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": lambda: handmade({"typ": "JWT", "alg": "none"}, claims()),
    "alg none unsigned": lambda: without_signature(
        handmade({"typ": "JWT", "alg": "none"}, claims())
    ),
    "alg None": lambda: without_signature(handmade({"typ": "JWT", "alg": "None"}, claims())),
    "alg NONE": lambda: without_signature(handmade({"typ": "JWT", "alg": "NONE"}, claims())),
    "alg nOnE": lambda: without_signature(handmade({"typ": "JWT", "alg": "nOnE"}, claims())),
    "no alg": lambda: handmade({"typ": "JWT"}, claims()),
    "alg HS512": lambda: jwt.encode(claims(), SECRET, "HS512"),
    "alg RS256 by own key": lambda: jwt.encode(claims(), RSA_KEY, "RS256"),
    "alg ES256 by own key": lambda: jwt.encode(claims(), EC_KEY, "ES256"),
    "HS256 with a public key": lambda: handmade(
        {"typ": "JWT", "alg": "HS256"}, claims(), PUBLIC_PEM
    ),
    "other secret": lambda: jwt.encode(claims(), SECRET + "x", "HS256"),
    "empty secret": lambda: handmade({"typ": "JWT", "alg": "HS256"}, claims(), b""),
    "expired": lambda: signed(exp=NOW - 60),
    "expired long ago": lambda: signed(exp=0),
    "not yet valid": lambda: signed(nbf=NOW + 86_400),
    "issued in the future": lambda: signed(iat=NOW + 86_400),
    "no exp": lambda: signed(exp=...),
    "exp is text": lambda: signed(exp="tomorrow"),
    "exp beyond numbers": lambda: handmade(
        {"typ": "JWT", "alg": "HS256"}, json.dumps(claims()).replace(f"{NOW + 3600}", "1e999")
    ),
    "no aud": lambda: signed(aud=...),
    "other aud": lambda: signed(aud="another-service"),
    "no iss": lambda: signed(iss=...),
    "other iss": lambda: signed(iss="https://evil.example"),
    "no sub": lambda: signed(sub=...),
    "sub is a number": lambda: signed(sub=7),
    "sub is empty": lambda: signed(sub=""),
    "sub is a space": lambda: signed(sub=" "),
    "sub has a line break": lambda: signed(sub="ann\nbob"),
    "sub has half a character": lambda: signed(sub="ann\ud800"),
    "sub has space around it": lambda: signed(sub=" ann"),
    "the end is a text": lambda: signed(exp=str(NOW + 3600)),
    "no account": lambda: signed(account_id=...),
    "account is a list": lambda: signed(account_id=["*"]),
    "no roles": lambda: signed(roles=...),
    "roles is text": lambda: signed(roles="admin"),
    "roles unknown": lambda: signed(roles=["root"]),
    "admin of one account": lambda: signed(account_id="shop-1"),
    "member of every account": lambda: signed(roles=["member"]),
    "two roles of every account": lambda: signed(roles=["admin", "service"]),
    "operator and member at once": lambda: signed(roles=["admin", "member"]),
    "no role of every account": lambda: signed(roles=[]),
    "typ of another kind": lambda: signed({"typ": "logout+jwt"}),
    "no typ": lambda: handmade({"alg": "HS256"}, claims()),
    "jku": lambda: signed({"jku": "http://127.0.0.1:1/keys"}),
    "x5u": lambda: signed({"x5u": "http://127.0.0.1:1/cert"}),
    "jwk": lambda: signed({"jwk": {"kty": "oct", "k": part(SECRET)}}),
    "crit": lambda: signed({"crit": ["exp"]}),
    "b64": lambda: signed({"b64": False, "crit": ["b64"]}),
    "claims twice": lambda: handmade({"typ": "JWT", "alg": "HS256"}, TWICE),
    "header twice": lambda: handmade('{"typ":"JWT","alg":"none","alg":"HS256"}', claims()),
    "account changed": lambda: tampered(signed()),
    "signature empty": lambda: without_signature(signed()),
    "a megabyte": lambda: signed(filler="x" * 1_000_000),
    "four parts": lambda: signed() + ".x",
    "not base64": lambda: "ey!.ey!.ey!",
    "deeply nested": lambda: handmade("[" * 5000, claims()),
    "not a token": lambda: "letmein",
    "nothing": lambda: "",
}

NOT_ONE_ROLE = "for all accounts it needs exactly one role, service or admin"


def test_there_are_at_least_forty_of_them() -> None:
    assert len(FORGERIES) >= 40


@pytest.mark.parametrize(("method", "path"), DOORS)
@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_token_gets_the_same_answer_as_no_token(
    client: httpx2.AsyncClient, name: str, method: str, path: str
) -> None:
    fixed = {"X-Correlation-Id": "the-same"}
    bare = await client.request(method, path, headers=fixed)
    forged = await client.request(
        method, path, headers=fixed | {"Authorization": f"Bearer {FORGERIES[name]()}"}
    )
    assert bare.status_code == forged.status_code == 401
    assert forged.json()["code"] == "UNAUTHENTICATED"
    assert forged.content == bare.content
    assert forged.headers == bare.headers


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic YTpi", "Token x", "bearer  ", "Bearer\t" + "x"]
)
async def test_other_ways_to_say_who_one_is_are_no_better(
    client: httpx2.AsyncClient, header: str
) -> None:
    answer = await client.get(DOORS[0][1], headers={"Authorization": header})
    assert answer.status_code == 401


async def test_an_honest_token_passes_the_door(client: httpx2.AsyncClient) -> None:
    """The counter-check: tokens of the same hand are believed, and then need Postgres."""
    answer = await client.get(DOORS[0][1], headers={"Authorization": f"Bearer {signed()}"})
    assert answer.json()["code"] == "DATABASE_UNAVAILABLE"
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


async def test_a_remembered_token_still_expires(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.identity.auth.LEEWAY_SECONDS", 0)
    verifier = app.state.services.verifier
    ends_at = int(time.time()) + 2
    token = "Bearer " + signed(exp=ends_at)
    caller = await verifier.verify(token)
    assert await verifier.verify(token) is caller, "the second time from memory"
    await asyncio.sleep(ends_at - time.time() + 0.05)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (lambda: signed(exp=NOW - 60), "it is expired"),
        (lambda: signed(nbf=NOW + 3600), "it is not yet valid"),
        (lambda: jwt.encode(claims(), SECRET + "x", "HS256"), "no key of ours signed it"),
        (lambda: jwt.encode(claims(), SECRET, "HS512"), "its algorithm is not ours"),
        (lambda: signed(aud="another"), "its audience is not JWT_AUDIENCE"),
        (lambda: signed(iss="another"), "its issuer is not JWT_ISSUER"),
        (lambda: signed(sub=...), "a claim is missing"),
        (lambda: signed(sub="line\nbreak"), "it is malformed"),
        (lambda: "x" * 9_000, "it is malformed"),
        (lambda: signed(roles=["admin", "member"]), NOT_ONE_ROLE),
        (lambda: signed(roles=["billing"]), NOT_ONE_ROLE),
    ],
)
async def test_the_log_says_why_a_token_was_refused_and_the_answer_does_not(
    client: httpx2.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    token: Callable[[], str],
    reason: str,
) -> None:
    sent = token()
    with caplog.at_level("INFO", logger="api.auth"):
        answer = await client.get(DOORS[0][1], headers={"Authorization": f"Bearer {sent}"})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "a valid bearer token is required"
    assert [record.message for record in caplog.records if record.name == "api.auth"] == [
        f"a token was refused: {reason}"
    ]
    assert sent not in caplog.text


async def test_tokens_of_the_old_secret_are_taken_while_a_new_one_replaces_it() -> None:
    old, new = SECRET, "another-secret-of-the-unit-tests-0123456789"
    verify = create_app(lonely_settings(jwt_secret=f"{new},{old}")).state.services.verifier.verify
    minted = mint_token(
        secret=f"{new},{old}",
        account="*",
        roles=["admin"],
        subject="mallory",
        audience="durable-billing",
        issuer="durable-billing",
    )
    jwt.decode(minted, new, algorithms=["HS256"], audience="durable-billing")
    for token in (signed(), minted):
        assert (await verify(f"Bearer {token}")).subject == "mallory"
    with pytest.raises(Unauthenticated):
        await verify(f"Bearer {handmade({'typ': 'JWT', 'alg': 'HS256'}, claims(), b'')}")
    with pytest.raises(ValidationError, match="JWT_SECRET has an extra comma"):
        lonely_settings(jwt_secret=f"{new},")


def test_a_secret_shorter_than_its_hash_stops_the_start() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        create_app(lonely_settings(jwt_secret=f"{SECRET},short"))


def test_no_way_to_prove_callers_stops_the_start() -> None:
    with pytest.raises(ValueError, match="JWT_SECRET"):
        create_app(lonely_settings(jwt_secret=None))

"""Public keys of an identity provider: fetched from its one address, pinned, kept and refreshed."""

import json
import time
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.identity.auth import Unauthenticated, Verifier
from api.identity.jwks import Jwks
from billing.core.errors import Unavailable
from tests.unit.api.forging import claims, handmade

URL = "https://login.example/keys"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public(kid: str, key: Any, **more: Any) -> dict[str, Any]:
    algorithm = (
        jwt.algorithms.ECAlgorithm
        if isinstance(key, ec.EllipticCurvePrivateKey)
        else (jwt.algorithms.RSAAlgorithm)
    )
    entry: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return entry | {"kid": kid} | more


class Provider:
    """An identity provider's key endpoint that counts its visitors."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.visits: list[str] = []
        self.away = False

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.visits.append(str(request.url))
        if self.away:
            raise httpx2.ConnectError("away")
        return httpx2.Response(200, json={"keys": self.keys})

    def reader(self, *algorithms: str) -> Jwks:
        return Jwks(URL, algorithms or ("RS256", "ES256"), httpx2.MockTransport(self))


def verifier(keys: Jwks) -> Verifier:
    return Verifier(keys, audience="durable-billing", issuer="https://login.example")


def token(key: Any, algorithm: str, **header: Any) -> str:
    payload = {
        "sub": "alice", "account_id": "shop-1", "roles": ["billing"], "aud": "durable-billing",
        "iss": "https://login.example", "exp": time.time() + 600,
    }  # fmt: skip
    return "Bearer " + jwt.encode(payload, key, algorithm, headers=header)


async def test_tokens_of_both_key_kinds_are_believed_and_the_list_is_fetched_once() -> None:
    provider = Provider(public("r", RSA_KEY), public("e", EC_KEY))
    proving = verifier(provider.reader())
    assert (await proving.verify(token(RSA_KEY, "RS256", kid="r"))).account == "shop-1"
    assert (await proving.verify(token(EC_KEY, "ES256", kid="e"))).roles == {"billing"}
    assert provider.visits == [URL]


@pytest.mark.parametrize(
    ("algorithm", "header"),
    [
        ("RS256", {}),
        ("RS256", {"kid": "unknown"}),
        ("RS256", {"kid": "../../etc/passwd"}),
        ("RS256", {"kid": "' OR 1=1 --"}),
        ("RS256", {"kid": "https://evil.example/keys"}),
        ("RS256", {"kid": "e"}),
        ("RS384", {"kid": "r"}),
        ("PS256", {"kid": "r"}),
        ("RS256", {"kid": "r", "jku": "https://evil.example/keys"}),
    ],
)
async def test_a_token_cannot_choose_its_key_or_algorithm(
    algorithm: str, header: dict[str, str]
) -> None:
    provider = Provider(public("r", RSA_KEY), public("e", EC_KEY))
    with pytest.raises(Unauthenticated):
        await verifier(provider.reader()).verify(token(RSA_KEY, algorithm, **header))
    assert set(provider.visits) <= {URL}


async def test_a_public_key_is_no_hmac_secret() -> None:
    provider = Provider(public("r", RSA_KEY))
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = handmade({"typ": "JWT", "alg": "HS256", "kid": "r"}, claims(), pem)
    with pytest.raises(Unauthenticated):
        await verifier(provider.reader()).verify(f"Bearer {forged}")


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
@pytest.mark.parametrize(
    "entry",
    [
        public("k", WEAK_KEY),
        public("k", RSA_KEY, use="enc"),
        public("k", RSA_KEY, alg="RS512"),
        {"kty": "oct", "kid": "k", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        {"kty": "RSA", "kid": "k"},
        {"kid": "k"},
    ],
)
async def test_keys_not_fit_for_signing_are_passed_over(entry: dict[str, Any]) -> None:
    key = WEAK_KEY if entry.get("n") == public("k", WEAK_KEY)["n"] else RSA_KEY
    with pytest.raises(Unauthenticated):
        await verifier(Provider(entry).reader()).verify(token(key, "RS256", kid="k"))


async def test_only_the_algorithms_of_the_settings_count() -> None:
    provider = Provider(public("r", RSA_KEY), public("e", EC_KEY))
    proving = verifier(provider.reader("ES256"))
    await proving.verify(token(EC_KEY, "ES256", kid="e"))
    with pytest.raises(Unauthenticated):
        await proving.verify(token(RSA_KEY, "RS256", kid="r"))


async def test_unknown_key_ids_do_not_make_us_fetch_again_and_again() -> None:
    provider = Provider(public("r", RSA_KEY))
    proving = verifier(provider.reader())
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await proving.verify(token(RSA_KEY, "RS256", kid=f"guess-{number}"))
    assert len(provider.visits) == 1


@pytest.mark.parametrize("kid", ["new", "old"], ids=["another id", "the id of before"])
async def test_a_withdrawn_key_proves_nothing_even_from_memory(kid: str) -> None:
    provider = Provider(public("old", RSA_KEY))
    keys = provider.reader()
    proving, old = verifier(keys), token(RSA_KEY, "RS256", kid="old")
    await proving.verify(old)
    provider.keys = [public(kid, EC_KEY)]
    await keys.refresh()
    await proving.verify(token(EC_KEY, "ES256", kid=kid))
    with pytest.raises(Unauthenticated):
        await proving.verify(old)


async def test_the_keys_stay_good_while_the_provider_is_away() -> None:
    provider = Provider(public("r", RSA_KEY))
    keys = provider.reader()
    proving = verifier(keys)
    await keys.refresh()
    provider.away = True
    await keys.refresh()
    assert (await proving.verify(token(RSA_KEY, "RS256", kid="r"))).subject == "alice"


async def test_a_new_key_is_not_the_callers_fault_while_the_provider_is_away() -> None:
    provider = Provider(public("r", RSA_KEY))
    keys = provider.reader()
    proving, rotated = verifier(keys), token(EC_KEY, "ES256", kid="e")
    await keys.refresh()
    provider.keys, provider.away = [public("e", EC_KEY)], True
    await keys.refresh()
    with pytest.raises(Unavailable):
        await proving.verify(rotated)
    provider.away = False
    await keys.refresh()
    assert (await proving.verify(rotated)).subject == "alice"
    with pytest.raises(Unauthenticated):
        await proving.verify(token(RSA_KEY, "RS256", kid="r"))


async def test_without_any_key_yet_the_service_says_that_it_cannot_know() -> None:
    provider = Provider()
    provider.away = True
    with pytest.raises(Unavailable):
        await verifier(provider.reader()).verify(token(RSA_KEY, "RS256", kid="r"))

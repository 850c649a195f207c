"""One shop has one host, however its domain is written."""

import pytest

from billing.platform.accounts.shops import shop_host


@pytest.mark.parametrize(
    "domain",
    [
        "a.example", " A.EXAMPLE. ", "https://a.example", "http://a.example:80/", "a.example:443",
        "a\uff0eexample", "a\u3002example", "a.\uff45xample", "a.ex\u00adample", "a.ex\u200bample",
        "a.example/admin", "a.example?x", "a.example#a", "a.example%20", "%61.example",
        "me@a.example", "https://me:word@a.example:443/admin", "a.example/?back=https://b.example",
    ],
)  # fmt: skip
def test_a_shops_host_has_one_spelling(domain: str) -> None:
    assert shop_host(domain) == "a.example"


def test_a_host_in_another_script_is_its_name_in_ascii() -> None:
    assert shop_host("BÜCHER.example") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text",
    [
        "", "/admin", "a..example", "a.example!", "a.example\\x", "[a", "a b", "x" * 64,
        "x:a.example", "http:\\\\a.example", "https:/a.example", "https:a.example", "https:",
        "https%3A/a.example", "https:///a.example", "https://https://a.example", "a.example:65536",
        "a.example:\u0661", "a.example/\\b.example", "://a.example", "x/a.example", "x?a.example",
        "x#a.example", "x:443/a.example", "x%2Fa.example", "me@x/a.example",
    ],
)  # fmt: skip
def test_what_names_no_host_is_no_shop(text: str) -> None:
    assert shop_host(text) is None


@pytest.mark.parametrize("domain", ["shop", "shop:8080", "http://shop/admin"])
def test_a_host_of_ones_own_network_has_no_dot(domain: str) -> None:
    assert shop_host(domain) == "shop"

"""Addresses: what is accepted, and that the rest is refused before a resolver sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.errors import InvalidInput
from gossipconf.runtime.address import check_seed, format_address, needs_resolving, parse_address


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("10.0.0.7:7000", "10.0.0.7", 7000),
        ("node-7.eu.example.org:1", "node-7.eu.example.org", 1),
        ("a_service.local.:65535", "a_service.local.", 65_535),
        ("[::1]:7000", "::1", 7000),
        ("[fe80::1%eth0]:7000", "fe80::1%eth0", 7000),
    ],
)
def test_good_addresses_round_trip(address: str, host: str, port: int) -> None:
    assert parse_address(address) == (host, port)
    assert format_address(host, port) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        ":7000",
        "host:",
        "host:0",
        "host:65536",
        "host:+7",
        "host:٧",  # noqa: RUF001, RUF100 — a digit that is not ASCII
        "host:7 ",
        "::1:7000",
        "[::1]",
        "[host]:7000",
        "a..b:7000",
        ".a:7000",
        "x" * 64 + ":7000",
        "bücher.de:7000",
        "a\0b:7000",
        "http://host:7000",
        ".".join(["x" * 60] * 5) + ":7000",
    ],
)
def test_bad_addresses_are_named(address: str) -> None:
    with pytest.raises(InvalidInput, match="is not host:port"):
        parse_address(address)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        host, port = parse_address(text)
    except InvalidInput:
        return
    assert host.encode("idna")
    assert 1 <= port <= 65_535


# -- seeds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "is_name"),
    [
        ("10.0.0.7:7000", False),
        ("[::1]:7000", False),
        ("[fe80::1%eth0]:7000", False),
        ("localhost:7000", True),
        ("agents.prod.svc:7946", True),
        ("10.0.0:7000", True),
        ("srv:_gossipconf._tcp.example.org", True),
        ("srv:gossipconf.service.consul.", True),
    ],
)
def test_seeds_are_addresses_or_names(seed: str, is_name: bool) -> None:
    check_seed(seed)
    assert needs_resolving(seed) is is_name


@pytest.mark.parametrize("seed", ["", "host", "host:0", "[::1]", "SRV:_x._tcp.example.org", "dns:host:1"])
def test_what_is_no_seed_is_told_the_forms(seed: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not host:port, \[IPv6 address\]:port or srv:NAME"):
        check_seed(seed)


@pytest.mark.parametrize(
    "seed", ["srv:", "srv:_x._tcp.example.org:7946", "srv:_x._tcp..org", "srv:[::1]", "srv:" + "x." * 130]
)
def test_what_is_no_name_of_srv_records_is_told_an_example(seed: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not srv:NAME, such as srv:_gossipconf\._tcp\.example\.org"):
        check_seed(seed)

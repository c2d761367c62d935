"""IP addresses and networks as ids and ACLs write them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.auth.addresses import host_address, network_contains, parse_address, parse_network

BAD_ADDRESSES = [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.-1",
    "1.2.3.+4",
    "1.2.3.",
    "1.2..4",
    "a.b.c.d",
    "1.2.3.\u0664",
    "host",
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "1:2:3:4::5:6:7:8",
    "12345::",
    "g::",
    "-1::",
    "+1::",
    "::1%eth0",
    "_1::",
]


@given(st.ip_addresses())
def test_every_address_is_read(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert parse_address(str(address)) == address.packed
    assert parse_address(address.exploded) == address.packed


@pytest.mark.parametrize("text", BAD_ADDRESSES)
def test_bad_addresses(text: str) -> None:
    assert parse_address(text) is None
    assert parse_network(text) is None


@pytest.mark.parametrize("text", ["1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/x", "::/129", "::/1/2"])
def test_bad_networks(text: str) -> None:
    assert parse_network(text) is None


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_networks_contain_what_the_standard_library_says(
    network: ipaddress.IPv4Address | ipaddress.IPv6Address,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    bits: int,
) -> None:
    bits = min(bits, network.max_prefixlen)
    parsed = parse_network(f"{network}/{bits}")
    assert parsed == (network.packed, bits)
    expected = address in ipaddress.ip_network((network, bits), strict=False)
    assert network_contains(network.packed, bits, address.packed) == expected
    assert network_contains(network.packed, bits, network.packed)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("2001:db8::00ff", "2001:db8:0:0:0:0:0:ff"),
        ("fe80::1%eth0", "fe80:0:0:0:0:0:0:1"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::FFFF:10.0.0.7", "10.0.0.7"),
        ("::ffff:a00:7", "10.0.0.7"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_host_address_is_javas(text: str, shown: str) -> None:
    assert host_address(text) == shown

"""EnsembleConfig: the texts Apache ZooKeeper 3.9.4 prints for the texts it was given, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.config.ensemble import (
    EnsembleConfig,
    EnsembleError,
    QuorumServer,
    hash_map_order,
    parse_properties,
    split_host,
)

# (given, printed by Apache's QuorumPeerConfig.parseDynamicConfig(...).toString())
FROM_APACHE = [
    (
        "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889:observer;2182\n"
        "server.3=127.0.0.1:2890:3890:participant;10.0.0.1:2183\nversion=100000003",
        "server.1=127.0.0.1:2888:3888:participant\nserver.2=127.0.0.1:2889:3889:observer;0.0.0.0:2182\n"
        "server.3=127.0.0.1:2890:3890:participant;10.0.0.1:2183\nversion=100000003",
    ),
    (
        "server.1=[::1]:2888:3888;[fe80::1:2]:2181\nversion=0",
        "server.1=[0:0:0:0:0:0:0:1]:2888:3888:participant;[fe80:0:0:0:0:0:1:2]:2181\nversion=0",
    ),
    (
        "".join(f"server.{i * 7}=h{i}:1:2\n" for i in range(1, 21)),
        "".join(
            f"server.{i * 7}=h{i}:1:2:participant\n"
            for i in (14, 5, 19, 10, 1, 15, 6, 20, 11, 2, 16, 7, 12, 3, 17, 8, 13, 4, 18, 9)
        )
        + "version=0",
    ),
    (
        "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer\n"
        "group.1=1:2\ngroup.2=3\nweight.1=2\nweight.4=7",
        "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:participant\n"
        "server.4=d:1:2:observer\ngroup.1=1:2\ngroup.2=3\n"
        "weight.1=2\nweight.2=1\nweight.3=1\nweight.4=7\nversion=0",
    ),
    ("server.1=b:1:2|a:3:4\nversion=ff", "server.1=a:3:4|b:1:2:participant\nversion=ff"),
    (
        "server.-1=a:1:2\nserver.5000000000=b:1:2\nserver.3=c:1:2",
        "server.-1=a:1:2:participant\nserver.3=c:1:2:participant\n"
        "server.5000000000=b:1:2:participant\nversion=0",
    ),
    ("server.1 : a:1:2", "server.1=a:1:2:participant\nversion=0"),
]

REFUSED = [
    ("server.1=127.0.0.1:2888:2888", "must be different"),
    ("server.1=127.0.0.1:2888", "not host:port:port"),
    ("server.1=127.0.0.1:2888:3888:boss", "unrecognised peertype"),
    ("server.1=127.0.0.1:2888:3888\nfoo=1", "unrecognised parameter: foo"),
    ("server.1=127.0.0.1:2888:3888\nversion.1=1", "unrecognised parameter"),
    ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1", "not in a group"),
    ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\ngroup.2=2", "in multiple groups"),
    ("server.1=a:1:2\ngroup.1=1:5", "has no weight"),
    ("server.1=a:1:2\ngroup.1=1:x", "not a number"),
    ("version=zz", "not hexadecimal"),
    ("version=-1", "out of range"),
    ("version=8000000000000000", "out of range"),
    ("server.1=a:1:2\nserver.1=b:1:2", "given twice"),
    ("server.x=a:1:2", "not a number"),
    ("server.9223372036854775808=a:1:2", "not a number"),
    ("server.1=a:1:99999", "not a number"),
    ("server.1=:1:2", "not host:port:port"),
    ("server.1=a:1:2:participant|b:1:2:observer", "same role"),
    ("server.1=a:1:2;b:c:3", "not a client address"),
    ("server.1=a:1:2;1;2;3", "more than two client addresses"),
    ("server.1=[::1:1:2", "no matching"),
    ("server.1=[::1]:", "port after colon"),
    ("server.1=[::1]x:1:2", "no colon"),
]


@pytest.mark.parametrize(("given_text", "printed"), FROM_APACHE)
def test_prints_what_apache_prints(given_text: str, printed: str) -> None:
    config = EnsembleConfig.parse(given_text)
    assert config.format() == printed
    again = EnsembleConfig.parse(printed)
    assert again.format() == printed
    assert again.same_as(config)


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_refuses(text: str, reason: str) -> None:
    with pytest.raises(EnsembleError, match=reason):
        EnsembleConfig.parse(text)


def test_three_part_client_address_of_3_10() -> None:
    server = QuorumServer.parse(1, "127.0.0.1:2888:3888:participant;127.0.0.1:2181;127.0.0.1:2281")
    assert server.secure == ("127.0.0.1", 2281)
    assert server.format() == "127.0.0.1:2888:3888:participant;127.0.0.1:2181;127.0.0.1:2281"
    only_secure = "127.0.0.1:2888:3888:participant;;127.0.0.1:2281"
    assert QuorumServer.parse(1, only_secure).client is None
    assert QuorumServer.parse(1, only_secure).format() == only_secure


def test_client_address_from_a_static_client_port_is_not_printed() -> None:
    server = QuorumServer(1, [("h", 1, 2)], client=("0.0.0.0", 2181), client_from_static=True)
    assert server.format() == "h:1:2:participant"


def test_members_by_role_and_addresses() -> None:
    config = EnsembleConfig.parse("server.3=c:1:2\nserver.2=b:3:4:observer\nserver.1=a:5:6|z:7:8")
    assert config.voters() == [1, 3]
    assert config.observers() == [2]
    assert config.servers[1].quorum_addresses() == [("a", 5), ("z", 7)]
    assert config.servers[1].election_addresses() == [("a", 6), ("z", 8)]


def test_equality_is_the_version_or_else_the_members() -> None:
    base = EnsembleConfig.parse("server.1=a:1:2\nserver.2=b:1:2\nversion=5")
    other = EnsembleConfig.parse("server.1=a:1:2\nversion=5")
    assert base.same_as(other)
    assert base.same_as(base.with_version(6))
    assert not base.same_as(other.with_version(6))
    moved = EnsembleConfig.parse("server.1=a:1:2\nserver.2=x:1:2\nversion=6")
    assert not base.same_as(moved)


def test_file_text_is_sorted_and_leaves_the_version_to_the_name() -> None:
    config = EnsembleConfig.parse("server.10=j:1:2\nserver.9=i:1:2\nversion=ab")
    assert config.file_text(False) == "server.10=j:1:2:participant\nserver.9=i:1:2:participant"
    assert config.file_text(True).endswith("\nversion=ab")
    assert EnsembleConfig.parse(config.file_text(True)).format() == config.format()


def test_configurations_that_cannot_run() -> None:
    observer_only = EnsembleConfig.parse("server.1=a:1:2:observer")
    assert "participants" in observer_only.problem()
    assert EnsembleConfig({}).problem() == ""
    assert "standaloneEnabled" in EnsembleConfig({}).problem(standalone_enabled=False)
    one = EnsembleConfig.parse("server.1=a:1:2\nserver.2=b:1:2:observer")
    assert "quorum" in one.problem()
    assert one.problem(standalone_enabled=False) == ""


def test_properties_are_read_as_java_reads_them() -> None:
    text = "# comment\n! comment\n\n  a = b\r\nc:d\ne f\ng\\:h=i\\=j\nk\n"
    assert parse_properties(text) == [("a", "b"), ("c", "d"), ("e", "f"), ("g:h", "i=j"), ("k", "")]


def test_hosts() -> None:
    assert split_host("a:1:2") == ("a", ["1", "2"])
    assert split_host("[::1]:1") == ("::1", ["1"])
    assert split_host("[::1]") == ("::1", [])
    assert EnsembleConfig.parse("server.1=[zz::q]:1:2").format().startswith("server.1=[zz::q]:1:2")


hosts = st.sampled_from(["a", "zk-1.example.org", "10.1.2.3", "::1", "fe80::2:3"])
ports = st.integers(0, 65534)


@st.composite
def servers(draw: st.DrawFn) -> QuorumServer:
    addresses = []
    for host in draw(st.lists(hosts, min_size=1, max_size=3, unique=True)):
        port = draw(ports)
        addresses.append((host, port, port + 1))
    client = draw(st.none() | st.tuples(hosts, ports))
    return QuorumServer(0, addresses, draw(st.booleans()), client)


@given(st.dictionaries(st.integers(-(2**63), 2**63 - 1), servers(), max_size=20), st.integers(0, 2**63 - 1))
def test_parse_and_format_are_inverse(members: dict[int, QuorumServer], version: int) -> None:
    for sid, server in members.items():
        server.sid = sid
    text = EnsembleConfig(members, version).format()
    again = EnsembleConfig.parse(text)
    assert again.format() == text
    assert again.voters() == sorted(s for s, m in members.items() if not m.observer)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        config = EnsembleConfig.parse(text)
    except EnsembleError:
        return
    assert EnsembleConfig.parse(config.format()).format() == config.format()


@given(st.sets(st.integers(0, 15), max_size=12))
def test_small_ids_are_in_order(ids: set[int]) -> None:
    assert hash_map_order(ids) == sorted(ids)

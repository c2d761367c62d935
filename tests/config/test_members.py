"""The member list, the dynamic file, myid, and this server's place among the members."""

import pytest

from zabra.config.ensemble import EnsembleConfig
from zabra.config.load import ConfigErrors, describe, load_config
from zabra.config.members import version_of_file_name
from zabra.config.server import ServerConfig

THREE = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n"
LIMITS = "dataDir=/d\ninitLimit=10\nsyncLimit=5\n"


def load(text: str, files: dict[str, str] | None = None) -> tuple[ServerConfig, list[str]]:
    known = {"zoo.cfg": text} | (files if files is not None else {"/d/myid": "1\n"})
    config, warnings = load_config("zoo.cfg", read=known.get)
    return config, [str(warning) for warning in warnings]


def errors_of(text: str, files: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(text, files)
    return [str(problem) for problem in caught.value.problems]


def test_an_ensemble() -> None:
    config, warnings = load(LIMITS + THREE + "clientPort=2181\n")
    assert warnings == []
    assert config.is_distributed()
    assert config.ensemble is not None
    assert config.ensemble.voters() == [1, 2, 3]
    assert (config.server_id, config.peer_type, config.client_port) == (1, "participant", 2181)
    assert config.origins["ensemble"] == "zoo.cfg:4"
    assert config.origins["server_id"] == "/d/myid"
    # The client port is this server's in the list, but not part of the list's text.
    assert config.ensemble.servers[1].client == ("0.0.0.0", 2181)
    assert "2181" not in config.ensemble.format()
    assert (config.quorum_connection_timeout_ms, config.connect_to_learner_master_limit_ticks) == (15000, 10)


def test_no_list_means_standalone() -> None:
    config, warnings = load("dataDir=/d\n", {})
    assert (config.is_distributed(), config.server_id, warnings) == (False, 0, [])


def test_one_server_is_standalone_unless_that_is_switched_off() -> None:
    config, warnings = load("dataDir=/d\nserver.1=a:1:2\n")
    assert config.ensemble is None
    assert warnings == ["configuration: server.: only one server: it runs standalone (standaloneEnabled)"]
    config, warnings = load(LIMITS + "standaloneEnabled=false\nserver.1=a:1:2\n")
    assert config.ensemble is not None
    assert warnings == ["configuration: server.: no failure is tolerated: that takes three voters at least"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataDir=/d\nserver.1=a:1:2:observer\n", "observers w/o participants is an invalid configuration"),
        (
            "dataDir=/d\nserver.1=a:1:2\nserver.2=b:1:2:observer\n",
            "observers w/o quorum is an invalid configuration",
        ),
        ("dataDir=/d\nstandaloneEnabled=false\n", "number of participants should be >0"),
        (LIMITS + "server.x=a:1:2\n", "zoo.cfg:4: server.x: 'x' is not the number of a server"),
        (LIMITS + "server.-1=a:1:2\n", "zoo.cfg:4: server.-1: '-1' is not the number of a server"),
        (
            LIMITS + "server.1=a:1\n",
            "zoo.cfg:4: server.1: 'a:1' is not host:port:port or host:port:port:type",
        ),
        (LIMITS + "server.1=a:1:1\n", "zoo.cfg:4: server.1: quorum and election port must be different"),
        (
            LIMITS + "server.1=a:1:2|b:1:2\n",
            "zoo.cfg:4: server.1: has several addresses, but multiAddress.enabled",
        ),
        (LIMITS + THREE + "group.1=1:2\nweight.1=1\n", "server 3 is not in a group"),
        (LIMITS + THREE + "group.1=1:2:3\nweight.1=x\n", "zoo.cfg:8: weight.1: 'x' is not a number"),
        (LIMITS + THREE + "version=zz\n", "zoo.cfg:7: version: 'zz' is not hexadecimal"),
        ("dataDir=/d\n" + THREE, "initLimit: is not set: an ensemble needs it"),
        ("dataDir=/d\ninitLimit=1\n" + THREE, "syncLimit: is not set: an ensemble needs it"),
    ],
)
def test_lists_that_cannot_be_run(text: str, message: str) -> None:
    assert any(message in error for error in errors_of(text)), errors_of(text)


def test_every_malformed_member_is_reported() -> None:
    assert len(errors_of(LIMITS + "server.1=a\nserver.2=b:x:2\nserver.3=c:1:2:boss\n")) == 3


@pytest.mark.parametrize(
    ("voters", "warning"),
    [
        (2, "configuration: server.: no failure is tolerated: that takes three voters at least"),
        (3, None),
        (4, "configuration: server.: 4 voters tolerate no more failures than 3"),
        (5, None),
    ],
)
def test_numbers_of_voters(voters: int, warning: str | None) -> None:
    servers = "".join(f"server.{sid}=h{sid}:1:2\n" for sid in range(1, voters + 1))
    assert load(LIMITS + servers)[1] == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("myid", "error"),
    [
        (None, "/d/myid: is missing: it holds this server's number in the list of servers"),
        ("", "/d/myid: '' is not the number of a server"),
        ("one\n", "/d/myid: 'one' is not the number of a server"),
        ("-1", "/d/myid: '-1' is not the number of a server"),
        ("256", "/d/myid: 256 is too large for a server's id: 255 is the largest"),
        ("7", "configuration: server.: this server is 7 (myid), and the list has only 1, 2, 3"),
    ],
)
def test_myid_that_does_not_do(myid: str | None, error: str) -> None:
    assert errors_of(LIMITS + THREE, {} if myid is None else {"/d/myid": myid}) == [error]


def test_myid_ends_at_254_with_extended_types() -> None:
    servers = "server.254=a:1:2\nserver.255=b:1:2\nserver.3=c:1:2\n"
    assert load(LIMITS + servers, {"/d/myid": "255"})[0].server_id == 255
    text = LIMITS + servers + "extendedTypesEnabled=true\n"
    assert load(text, {"/d/myid": "254"})[0].server_id == 254
    assert errors_of(text, {"/d/myid": "255"}) == [
        "/d/myid: 255 is too large for a server's id: 254 is the largest while extendedTypesEnabled is true"
    ]


def test_myid_is_read_by_its_first_line_without_blanks() -> None:
    assert load(LIMITS + THREE, {"/d/myid": " 2 \nignored"})[0].server_id == 2


def test_a_standalone_server_knows_its_myid_but_needs_none() -> None:
    assert load("dataDir=/d\n", {"/d/myid": "9"})[0].server_id == 9


def test_unreadable_files_are_reported() -> None:
    def read(path: str) -> str | None:
        if path == "zoo.cfg":
            return LIMITS + "dynamicConfigFile=/dyn\n"
        raise PermissionError(13, "Permission denied")

    with pytest.raises(ConfigErrors) as caught:
        load_config("zoo.cfg", read=read)
    assert "/dyn: the dynamic configuration file cannot be read: [Errno 13]" in str(caught.value)


def test_the_list_decides_whether_this_server_votes() -> None:
    text = LIMITS + THREE + "server.4=d:1:2:observer\n"
    config, warnings = load(text, {"/d/myid": "4"})
    assert config.peer_type == "observer"
    assert warnings == [
        "configuration: peerType: is participant, but the list of servers says observer, which counts"
    ]
    config, warnings = load(text + "peerType=observer\n", {"/d/myid": "4"})
    assert (config.peer_type, warnings) == ("observer", [])
    config, warnings = load(text + "peerType=observer\n")
    assert config.peer_type == "participant"
    assert len(warnings) == 1


def test_client_addresses_of_the_list_win() -> None:
    servers = THREE.replace("server.1=a:2888:3888", "server.1=a:2888:3888;10.0.0.1:2181;10.0.0.2:2281")
    config, _ = load(LIMITS + servers + "ssl.keyStore.location=/k\n")
    assert (config.client_port, config.client_port_address) == (2181, "10.0.0.1")
    assert (config.secure_client_port, config.secure_client_port_address) == (2281, "10.0.0.2")
    assert config.origins["client_port"] == "server.1"
    rows = {key: value for key, value, _ in describe(config)}
    assert rows["server.1"] == "a:2888:3888:participant;10.0.0.1:2181;10.0.0.2:2281"


@pytest.mark.parametrize(
    ("static", "agrees"),
    [
        ("clientPort=2181\n", True),
        ("clientPort=2181\nclientPortAddress=10.0.0.1\n", True),
        ("clientPort=2181\nclientPortAddress=0.0.0.0\n", True),
        ("clientPort=2182\n", False),
        ("clientPort=2181\nclientPortAddress=10.0.0.9\n", False),
    ],
)
def test_client_addresses_must_not_contradict_each_other(static: str, agrees: bool) -> None:
    text = LIMITS + THREE.replace("server.1=a:2888:3888", "server.1=a:2888:3888;10.0.0.1:2181") + static
    if agrees:
        assert load(text)[0].client_port_address == "10.0.0.1"
    else:
        assert "but 10.0.0.1:2181 in server.1" in errors_of(text)[0]


DYNAMIC = LIMITS + "dynamicConfigFile=/conf/zoo.cfg.dynamic.100000004\n"
DYNAMIC_FILES = {"/d/myid": "1", "/conf/zoo.cfg.dynamic.100000004": THREE}


def test_a_dynamic_file_has_the_list_and_its_version() -> None:
    config, warnings = load(DYNAMIC, DYNAMIC_FILES)
    assert warnings == []
    assert config.ensemble is not None
    assert config.ensemble.version == 0x100000004
    assert config.origins["ensemble"] == "/conf/zoo.cfg.dynamic.100000004:1"
    assert config.next_ensemble is None


def test_the_last_seen_list_is_read_beside_the_static_file() -> None:
    next_list = THREE + "version=100000009"
    config, warnings = load(DYNAMIC, DYNAMIC_FILES | {"zoo.cfg.dynamic.next": next_list})
    assert config.next_ensemble is not None
    assert config.next_ensemble.same_as(EnsembleConfig.parse(next_list))
    config, warnings = load(DYNAMIC, DYNAMIC_FILES | {"zoo.cfg.dynamic.next": "server.1=?"})
    assert config.next_ensemble is None
    assert warnings[0].startswith("zoo.cfg.dynamic.next: the last seen configuration is ignored: ")


@pytest.mark.parametrize(
    ("text", "content", "error"),
    [
        (
            DYNAMIC + THREE,
            THREE,
            "zoo.cfg:5: server.1: belongs into the dynamic configuration file, since there is one",
        ),
        (DYNAMIC, THREE + "version=5\n", "must not be inside a dynamic file: it stands in the file's name"),
        (DYNAMIC, THREE + "clientPort=5\n", "clientPort: does not belong into a dynamic file"),
        (DYNAMIC, THREE + "server.4=?\n", "/conf/zoo.cfg.dynamic.100000004:4: server.4: '?' is not"),
        (DYNAMIC, THREE + "server.4=\\u1\n", "/conf/zoo.cfg.dynamic.100000004:4: \\u1 is not"),
        (DYNAMIC, None, "/conf/zoo.cfg.dynamic.100000004: the dynamic configuration file does not exist"),
    ],
)
def test_dynamic_files_that_do_not_do(text: str, content: str | None, error: str) -> None:
    files = {"/d/myid": "1"} | ({} if content is None else {"/conf/zoo.cfg.dynamic.100000004": content})
    assert any(error in found for found in errors_of(text, files)), errors_of(text, files)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("zoo.cfg.dynamic.0", 0),
        ("zoo.cfg.dynamic.1001", 0x1001),
        ("zoo.cfg.dynamic", 0),
        ("zoo", 0),
        ("zoo.", 0),
        ("zoo.cfg.dynamic.7fffffffffffffff", 2**63 - 1),
        ("zoo.cfg.dynamic.8000000000000000", 0),
        ("zoo.0x12", 0),
    ],
)
def test_version_of_file_name(name: str, version: int) -> None:
    assert version_of_file_name(name) == version

"""The table of options: complete, documented, and in step with ServerConfig and with upstream."""

import re
import typing
from dataclasses import fields
from pathlib import Path

import pytest

import zabra
from zabra.config import kinds
from zabra.config.options import (
    BY_NAME,
    FILLING,
    HONOURED,
    IGNORED,
    OPTIONS,
    PREFIXES,
    REFUSED,
    WAITING,
    WITHHELD,
    Option,
    find,
)
from zabra.config.server import ServerConfig, TlsConfig

DATA = Path(__file__).parent.parent / "data"

# Fields of ServerConfig that no key sets.
BESIDE_THE_TABLE = {
    "server_id",
    "next_ensemble",
    "config_path",
    "config_text",
    "origins",
    "client_tls",
    "quorum_tls",
}

# System properties that Apache ZooKeeper (3.9.4 and the branch of 3.10) reads, "zookeeper." removed; names
# that end in a dot are families.
UPSTREAM_PROPERTIES = (DATA / "upstream_properties.txt").read_text().split()

# Keys that QuorumPeerConfig knows itself.
UPSTREAM_KEYS = (DATA / "upstream_keys.txt").read_text().split()


@pytest.mark.parametrize("name", UPSTREAM_PROPERTIES)
def test_every_property_of_upstream_has_a_row(name: str) -> None:
    assert find(f"zookeeper.{name}x" if name.endswith(".") else f"zookeeper.{name}") is not None


@pytest.mark.parametrize("key", UPSTREAM_KEYS)
def test_every_key_of_upstream_has_a_row(key: str) -> None:
    assert find(key) is not None


@pytest.mark.parametrize("option", OPTIONS, ids=[option.key for option in OPTIONS])
def test_row(option: Option) -> None:
    assert option.doc.endswith((".", "`"))
    assert option.section
    assert option.scope in ("ensemble", "server", "client")
    assert option.status in (HONOURED, IGNORED, REFUSED, WAITING, WITHHELD)
    assert bool(option.field) == (option.status in FILLING)
    assert bool(option.reason) == (option.status != HONOURED)
    if option.default is not None:
        assert option.kind.parse(option.kind.format(option.default_value())) == option.default_value()
    if option.field.endswith(("_ms", "_ticks", "_kb")) or isinstance(option.kind, kinds.Hours):
        assert option.unit


def field_types() -> dict[str, object]:
    types = dict(typing.get_type_hints(ServerConfig))
    parts = typing.get_type_hints(TlsConfig)
    for part in ("client_tls", "quorum_tls"):
        types.update({f"{part}.{name}": kind for name, kind in parts.items()})
    return types


def test_every_field_has_a_row_and_every_row_a_field() -> None:
    fields_of_rows = {option.field for option in OPTIONS if option.field}
    assert fields_of_rows == set(field_types()) - BESIDE_THE_TABLE


def test_fields_have_the_type_their_rows_parse_to() -> None:
    types = field_types()
    plain = {
        kinds.Integer: int,
        kinds.Hours: int,
        kinds.Decimal: float,
        kinds.Boolean: bool,
        kinds.Text: str,
        kinds.Choice: str,
        kinds.Words: tuple[str, ...],
        kinds.Addresses: tuple[tuple[str, int], ...],
    }
    for option in OPTIONS:
        if not option.field or option.prefix or option.field == "ensemble":
            continue
        wanted: object = plain[type(option.kind)]
        if option.default is None and option.field in ("client_port", "secure_client_port", "feed_port"):
            wanted = int | None
        assert types[option.field] == wanted, option.key


def test_field_names_end_in_their_unit() -> None:
    suffixes = {"ms": "_ms", "ticks": "_ticks", "KiB": "_kb", "hours": "_ms"}
    for option in OPTIONS:
        if option.field and option.unit in suffixes:
            assert option.field.endswith(suffixes[option.unit]), option.key


def test_secrets_are_not_shown_by_repr() -> None:
    shown = {field.name: field.repr for field in (*fields(ServerConfig), *fields(TlsConfig))}
    for option in OPTIONS:
        if option.secret:
            assert not shown[option.field.rpartition(".")[2]], option.key


@pytest.mark.parametrize(
    ("name", "key", "suffix"),
    [
        ("snapCount", "snapCount", ""),
        ("zookeeper.snapCount", "snapCount", ""),
        ("jute.maxbuffer", "jute.maxbuffer", ""),
        ("zookeeper.jute.maxbuffer", "jute.maxbuffer", ""),
        ("zookeeper.jute.maxbuffer.extrasize", "jute.maxbuffer.extrasize", ""),
        ("fsync.warningthresholdms", "fsync.warningthresholdms", ""),
        ("server.12", "server.", "12"),
        ("zookeeper.authProvider.x", "authProvider.", "x"),
        ("superUser", "superUser", ""),
        ("superUser.2", "superUser.", "2"),
        ("metricsProvider.httpPort", "metricsProvider.httpPort", ""),
        ("metricsProvider.ssl.keyStore.type", "metricsProvider.", "ssl.keyStore.type"),
        ("publisher.log.class", "publisher.", "log.class"),
        ("ssl.quorum.keyStore.type", "ssl.quorum.keyStore.type", ""),
    ],
)
def test_find(name: str, key: str, suffix: str) -> None:
    found = find(name)
    assert found is not None
    assert (found[0].key, found[1]) == (key, suffix)


@pytest.mark.parametrize("name", ["", "snapcount", "server.", "server", "zookeeper.", "zookeeper.nothing"])
def test_find_nothing(name: str) -> None:
    assert find(name) is None


def test_names_are_unique() -> None:
    assert len({option.key for option in OPTIONS}) == len(OPTIONS)
    assert all(BY_NAME[option.key] is option for option in OPTIONS if not option.prefix)
    assert all(option.key.endswith(".") for option in PREFIXES)


UNREAD = {
    line.split("  # ")[0]: line.split("  # ")[1]
    for line in (DATA / "unread_options.txt").read_text().splitlines()
    if line and not line.startswith("#")
}


def reading_sources() -> str:
    """Everything outside config/, where an option would have an effect."""
    package = Path(zabra.__path__[0])
    paths = [
        path for path in sorted(package.rglob("*.py")) if "config" not in path.relative_to(package).parts[:1]
    ]
    return "\n".join(path.read_text("utf-8") for path in paths)


def test_every_honoured_option_is_read_somewhere() -> None:
    """A row that says honoured while nothing reads its field would be a lie; the known ones become fewer."""
    text = reading_sources()
    honoured = [option for option in OPTIONS if option.status == HONOURED]
    fields_of_rows = dict.fromkeys(option.field.rpartition(".")[2] for option in honoured)
    unread = [field for field in fields_of_rows if not re.search(rf"\.{field}\b", text)]
    assert sorted(set(unread) - set(UNREAD)) == []

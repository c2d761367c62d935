"""Owner words and the index of ephemerals, containers and TTL nodes."""

import pytest

from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.tree.ephemerals import (
    CONTAINER,
    CONTAINER_OWNER,
    NORMAL,
    TTL,
    TTL_MAX_MS,
    VOID,
    Ephemerals,
    EphemeralTypes,
    is_plain_ephemeral,
    is_ttl_mode,
    ttl_owner,
    validate_ttl,
)

SESSION = 0x0100001A844F0000


def signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def test_ttl_encoding() -> None:
    assert ttl_owner(1) == signed(0xFF00000000000001)
    assert ttl_owner(TTL_MAX_MS) == signed(0xFF0000FFFFFFFFFF)
    types = EphemeralTypes(extended=True)
    for ttl in (1, 100, TTL_MAX_MS):
        assert types.kind(ttl_owner(ttl)) == TTL
        assert types.ttl_ms(ttl_owner(ttl)) == ttl


@pytest.mark.parametrize("ttl", [0, -1, TTL_MAX_MS + 1])
def test_ttl_range(ttl: int) -> None:
    with pytest.raises(KeeperError) as caught:
        ttl_owner(ttl)
    assert caught.value.code == codes.ERR_BAD_ARGUMENTS


def test_validate_ttl() -> None:
    validate_ttl(codes.MODE_PERSISTENT, -1)
    validate_ttl(codes.MODE_PERSISTENT_WITH_TTL, 100)
    validate_ttl(codes.MODE_PERSISTENT_SEQUENTIAL_WITH_TTL, 1)
    for mode in range(codes.MODE_PERSISTENT, codes.MODE_CONTAINER + 1):
        assert not is_ttl_mode(mode)
        with pytest.raises(KeeperError):
            validate_ttl(mode, 100)
    for ttl in (0, -1):
        with pytest.raises(KeeperError):
            validate_ttl(codes.MODE_PERSISTENT_WITH_TTL, ttl)


@pytest.mark.parametrize(
    ("owner", "plain", "extended", "emulated"),
    [
        (0, VOID, VOID, VOID),
        (SESSION, NORMAL, NORMAL, NORMAL),
        (signed(0x8000000000000000), CONTAINER, CONTAINER, CONTAINER),
        (signed(0xFF00000000000064), NORMAL, TTL, TTL),
        # 0xff with reserved bits set is a session of server 255.
        (signed(0xFF00010000000000), NORMAL, NORMAL, TTL),
        # The layout of 3.5.3: the top bit, then the TTL.
        (signed(0x8000000000000064), NORMAL, NORMAL, TTL),
        (signed(0xFE00000000000064), NORMAL, NORMAL, TTL),
    ],
)
def test_kind_depends_on_the_settings(owner: int, plain: int, extended: int, emulated: int) -> None:
    settings = [EphemeralTypes(), EphemeralTypes(True), EphemeralTypes(True, True)]
    assert [types.kind(owner) for types in settings] == [plain, extended, emulated]
    for types in settings:
        assert types.session_owner(owner) == (owner if types.kind(owner) == NORMAL else 0)


def test_emulation_needs_extended_types() -> None:
    assert EphemeralTypes(False, True).kind(signed(0x8000000000000064)) == NORMAL


def test_ttl_of_the_old_layout() -> None:
    assert EphemeralTypes(True, True).ttl_ms(signed(0x8000000000000064)) == 0x64


def test_plain_ephemeral() -> None:
    assert is_plain_ephemeral(SESSION)
    for owner in (0, CONTAINER_OWNER, ttl_owner(5)):
        assert not is_plain_ephemeral(owner)


def test_index() -> None:
    index = Ephemerals(EphemeralTypes(extended=True))
    index.add("/b", SESSION)
    index.add("/a", SESSION)
    index.add("/other", 5)
    index.add("/c", CONTAINER_OWNER)
    index.add("/t", ttl_owner(1000))
    assert index.paths_of(SESSION) == ["/b", "/a"]
    assert list(index.containers) == ["/c"]
    assert list(index.ttls) == ["/t"]
    assert index.count() == 3
    index.remove("/b", SESSION)
    assert index.paths_of(SESSION) == ["/a"]
    index.remove("/a", SESSION)
    assert SESSION not in index.by_session
    index.remove("/c", CONTAINER_OWNER)
    index.remove("/t", ttl_owner(1000))
    assert not index.containers
    assert not index.ttls
    assert index.take(5) == ["/other"]
    assert index.take(5) == []
    # Forgetting what is not there is harmless: replay does it.
    index.remove("/other", 5)
    index.remove("/c", CONTAINER_OWNER)

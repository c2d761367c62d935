"""Providers: the ACL check, the fix-up of a requested ACL, masking, users; and a scheme of one's own."""

import pytest

from zabra.auth.registry import Providers, default_providers, mask_digest_ids
from zabra.auth.schemes import EnsembleProvider, X509Provider
from zabra.proto.codes import (
    ERR_INVALID_ACL,
    PERM_ADMIN,
    PERM_ALL,
    PERM_READ,
    PERM_WRITE,
)
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, ClientInfo, Id

ANYONE = Id("world", "anyone")
BOB = Id("digest", "bob:hash")
EVE = Id("digest", "eve:hash")
HOME = Id("ip", "10.0.0.1")
SUPER = Id("super", "")
OPEN = [ACL(PERM_ALL, ANYONE)]


class KeyProvider:
    """A plugin: the key must divide the number in the ACL."""

    def scheme(self) -> str:
        return "key"

    def handle_authentication(self, auth: bytes) -> list[Id] | None:
        return [Id("key", auth.decode())] if auth.isdigit() else None

    def matches(self, id: str, acl_id: str) -> bool:
        return int(acl_id) % int(id) == 0

    def is_authenticated(self) -> bool:
        return True

    def is_valid(self, id: str) -> bool:
        return id.isdigit()

    def user_name(self, id: str) -> str:
        return "key" + id


class HomeProvider(KeyProvider):
    """A plugin that looks at the path and the permission: whoever has a home may write below it."""

    def scheme(self) -> str:
        return "home"

    def matches(self, id: str, acl_id: str) -> bool:
        raise AssertionError("the one that knows the path is asked")

    def matches_at(self, id: str, acl_id: str, path: str, perm: int) -> bool:
        return perm == PERM_READ or path.startswith(f"/{acl_id}/{id}/")


def providers(skip_acl: bool = False) -> Providers:
    return Providers([*default_providers(), EnsembleProvider("one"), KeyProvider()], skip_acl)


@pytest.mark.parametrize(
    ("acl", "perm", "ids", "allowed"),
    [
        (OPEN, PERM_READ, [], True),
        ([], PERM_READ, [], True),
        ([ACL(PERM_READ, ANYONE)], PERM_READ, [HOME], True),
        ([ACL(PERM_READ, ANYONE)], PERM_WRITE, [HOME], False),
        ([ACL(PERM_READ, ANYONE)], PERM_WRITE, [HOME, SUPER], True),
        ([ACL(PERM_READ, ANYONE)], PERM_READ | PERM_ADMIN, [HOME], True),
        ([ACL(PERM_ALL, Id("world", "else"))], PERM_READ, [Id("world", "else")], False),
        ([ACL(PERM_ALL, BOB)], PERM_READ, [HOME, BOB], True),
        ([ACL(PERM_ALL, BOB)], PERM_READ, [HOME, EVE], False),
        ([ACL(PERM_ALL, BOB)], PERM_READ, [], False),
        ([ACL(PERM_READ, BOB), ACL(PERM_WRITE, EVE)], PERM_WRITE, [BOB], False),
        ([ACL(PERM_READ, BOB), ACL(PERM_WRITE, EVE)], PERM_WRITE, [BOB, EVE], True),
        ([ACL(PERM_ALL, Id("ip", "10.0.0.0/8"))], PERM_READ, [HOME], True),
        ([ACL(PERM_ALL, Id("digest", "10.0.0.1"))], PERM_READ, [HOME], False),
        ([ACL(PERM_ALL, Id("none", "x"))], PERM_READ, [Id("none", "x")], False),
        ([ACL(PERM_ALL, SUPER)], PERM_READ, [BOB], False),
        ([ACL(PERM_ALL, Id("key", "12"))], PERM_READ, [Id("key", "4")], True),
        ([ACL(PERM_ALL, Id("key", "12"))], PERM_READ, [Id("key", "5")], False),
        ([ACL(0, ANYONE)], PERM_READ, [BOB], False),
    ],
)
def test_check_acl(acl: list[ACL], perm: int, ids: list[Id], allowed: bool) -> None:
    assert providers().check_acl(acl, perm, ids, "/a") is allowed
    assert providers(skip_acl=True).check_acl(acl, perm, ids, "/a")


@pytest.mark.parametrize(
    ("asked", "ids", "given"),
    [
        (OPEN, [], OPEN),
        ([*OPEN, *OPEN], [], OPEN),
        ([ACL(PERM_READ, ANYONE), *OPEN], [], [ACL(PERM_READ, ANYONE), *OPEN]),
        ([ACL(PERM_ALL, BOB), *OPEN, ACL(PERM_ALL, BOB)], [], [ACL(PERM_ALL, BOB), *OPEN]),
        ([ACL(PERM_ALL, Id("auth", ""))], [HOME, BOB, EVE], [ACL(PERM_ALL, BOB), ACL(PERM_ALL, EVE)]),
        ([ACL(3, Id("auth", "ignored"))], [SUPER, BOB], [ACL(3, BOB)]),
        ([ACL(PERM_ALL, Id("ip", "10.0.0.0/8"))], [], [ACL(PERM_ALL, Id("ip", "10.0.0.0/8"))]),
        ([ACL(PERM_ALL, Id("key", "7"))], [], [ACL(PERM_ALL, Id("key", "7"))]),
    ],
)
def test_fixup_acl(asked: list[ACL], ids: list[Id], given: list[ACL]) -> None:
    assert providers().fixup_acl(asked, ids) == given


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ([], [BOB]),
        ([ACL(PERM_ALL, Id("world", "else"))], []),
        ([ACL(PERM_ALL, Id("", ""))], []),
        ([ACL(PERM_ALL, Id("none", "x"))], []),
        ([ACL(PERM_ALL, Id("super", ""))], [SUPER]),
        ([ACL(PERM_ALL, Id("digest", "nocolon"))], []),
        ([ACL(PERM_ALL, Id("ip", "999.0.0.1"))], []),
        ([ACL(PERM_ALL, Id("ensemble", "one"))], []),
        ([ACL(PERM_ALL, Id("auth", ""))], []),
        ([ACL(PERM_ALL, Id("auth", ""))], [HOME, SUPER, Id("none", "x")]),
        ([*OPEN, ACL(PERM_ALL, Id("auth", ""))], [HOME]),
    ],
)
def test_fixup_refuses(asked: list[ACL], ids: list[Id]) -> None:
    with pytest.raises(KeeperError) as caught:
        providers().fixup_acl(asked, ids)
    assert caught.value.code == ERR_INVALID_ACL


def test_authenticate() -> None:
    registry = providers()
    assert registry.authenticate("none", b"x") is None
    assert registry.authenticate("ip", b"") == []
    assert registry.authenticate("key", b"12") == [Id("key", "12")]
    assert registry.authenticate("key", b"x") is None
    assert registry.authenticate("ensemble", b"two") is None
    ids = registry.authenticate("digest", b"bob:secret")
    assert ids is not None
    assert [id.scheme for id in ids] == ["digest"]


def test_schemes() -> None:
    assert providers().schemes() == ["ip", "digest", "ensemble", "key"]
    assert Providers(default_providers(digest_enabled=False)).schemes() == ["ip"]
    assert providers().get("digest") is not None
    assert providers().get("world") is None
    # A later provider takes the place of an earlier one.
    other = X509Provider("CN=boss")
    assert Providers([X509Provider(), other]).get("x509") is other


def test_masking() -> None:
    acl = [ACL(1, BOB), ACL(2, HOME), ACL(3, Id("digest", "nocolon")), ACL(4, Id("digest", "a:b\nc:d"))]
    assert mask_digest_ids(acl) == [
        ACL(1, Id("digest", "bob:x")),
        ACL(2, HOME),
        ACL(3, Id("digest", "nocolon")),
        ACL(4, Id("digest", "a:x")),
    ]
    assert acl[0].id == BOB


def test_users() -> None:
    registry = providers()
    ids = [HOME, BOB, SUPER, Id("key", "4")]
    assert registry.client_infos(ids) == [
        ClientInfo("ip", "10.0.0.1"),
        ClientInfo("digest", "bob"),
        ClientInfo("super", ""),
        ClientInfo("key", "key4"),
    ]
    assert registry.users(ids) == "10.0.0.1,bob,key4"
    assert registry.users([]) == ""


def test_a_scheme_that_sees_the_path_is_told_of_it() -> None:
    mine = Providers([*default_providers(), HomeProvider()])
    acl, ids = [ACL(PERM_ALL, Id("home", "home"))], [Id("home", "7")]
    assert mine.check_acl(acl, PERM_WRITE, ids, "/home/7/a")
    assert not mine.check_acl(acl, PERM_WRITE, ids, "/home/8/a")
    assert mine.check_acl(acl, PERM_READ, ids, "/home/8/a")
    assert not mine.check_acl(acl, PERM_READ, [HOME], "/home/8/a")

"""Rights: by which ACL each change of a txn is judged, and what becomes of it."""

from zabra.auth.registry import Providers, default_providers
from zabra.auth.schemes import generate_digest
from zabra.plugins.door.rights import Reader, all_open, judge, plain, touched
from zabra.plugins.publisher import Change
from zabra.proto.records import ACL, Id
from zabra.tree.acl import OPEN_ACL_UNSAFE

MINE = (ACL(31, Id("digest", generate_digest("me:pw"))),)
OPEN = tuple(OPEN_ACL_UNSAFE)
PROVIDERS = Providers(default_providers())


def reader(*ids):
    return Reader(PROVIDERS, [Id("ip", "1.2.3.4"), *ids])


NOBODY = reader()
ME = reader(Id("digest", generate_digest("me:pw")))
SUPER = reader(Id("super", ""))


def create(index, path, acl=OPEN):
    return Change(index, "create", path, b"", 0, acl)


def shown(changes, before, who):
    return [who.shown(one) for one in judge(changes, before)]


def test_what_must_be_asked_for():
    changes = [
        create(0, "/a"),
        Change(1, "setData", "/a", b"", 1),
        Change(2, "delete", "/b"),
        create(3, "/b"),
        Change(4, "delete", "/b"),
        Change(5, "closeSession", "", owner=7),
    ]
    assert touched(changes) == ["/b"]


def test_within_a_txn_the_acl_moves_on():
    changes = [
        Change(0, "delete", "/a"),
        create(1, "/a", MINE),
        Change(2, "setData", "/a", b"secret", 1),
        Change(3, "delete", "/a"),
        create(4, "/a"),
        Change(5, "setData", "/a", b"open", 1),
    ]
    seen = shown(changes, {}, NOBODY)
    assert [change is not None for change in seen] == [True, False, False, False, True, True]
    assert shown(changes, {}, ME) == changes
    hidden = shown(changes, {"/a": plain(MINE)}, NOBODY)
    assert [change is not None for change in hidden] == [False, False, False, False, True, True]
    assert not all_open(judge(changes, {}))
    assert all_open(judge([changes[0]], {}))


def test_a_changed_acl_is_told_to_both():
    closing = Change(0, "setACL", "/a", None, 1, MINE)
    assert shown([closing], {}, ME) == [closing]
    (told,) = shown([closing], {}, NOBODY)
    assert told is not None
    assert told.acl is None
    assert told.version == 1
    opening = Change(0, "setACL", "/a", None, 2, OPEN)
    assert shown([opening], {"/a": plain(MINE)}, NOBODY) == [opening]
    assert shown([closing], {"/a": plain(MINE)}, NOBODY) == [None]


def test_sessions_are_for_who_sees_all():
    session = Change(0, "createSession", "", None, -1, None, 9)
    assert shown([session], {}, ME) == [None]
    assert shown([session], {}, SUPER) == [session]
    assert not all_open(judge([session], {}))
    everybody = Reader(Providers(default_providers(), True), [])
    assert everybody.sees_all


def test_an_address_is_an_identity():
    near = plain([ACL(1, Id("ip", "1.2.0.0/16"))])
    assert NOBODY.may_read(near)
    assert not NOBODY.may_read(plain([ACL(30, Id("world", "anyone"))]))
    assert NOBODY.may_read(None)
    for number in range(1100):
        assert not NOBODY.may_read(((1, "digest", f"u{number}:x"),))
    assert NOBODY.may_read(near)

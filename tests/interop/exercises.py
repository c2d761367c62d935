"""What clients do on every member of an ensemble, step by step, with what has to come of it.

Each exercise takes an ``Ensemble`` that serves and leaves it serving; what it asserts holds whichever
implementation stands behind which member.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.interop.processes import Ensemble, ServerProcess, poll
from tests.interop.session import Session

from zabra.client import calls
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, Id

READ_ONLY_ACL = [ACL(codes.PERM_READ | codes.PERM_DELETE, Id("world", "anyone"))]
DIGEST_USER = b"carol:s3cret"


def running(ensemble: Ensemble) -> list[ServerProcess]:
    """Members whose process is alive."""
    return [member for member in ensemble.members.values() if member.running]


def every_operation(member: ServerProcess, base: str, leader: ServerProcess) -> list[Any]:
    """Every kind of write, and every refusal, through one member; what came back, without zxids and times.

    ``base`` is a node of its own that does not exist yet.
    """
    s = Session().connect(member.address)
    seen: list[Any] = []

    def err(name: str, call: Any) -> None:
        seen.append((name, s.error_of(call)))

    seen.append(s.do(calls.create(base, b"base")).removeprefix(base))
    seen.append(s.do(calls.create2(f"{base}/two", b"2"))[1].version)
    for flags in (codes.MODE_PERSISTENT_SEQUENTIAL, codes.MODE_EPHEMERAL_SEQUENTIAL):
        seen.append(s.do(calls.create(f"{base}/n-", b"", flags=flags)).removeprefix(base))
    seen.append(s.do(calls.create(f"{base}/e", None, flags=codes.MODE_EPHEMERAL)).removeprefix(base))
    seen.append(s.do(calls.create_container(f"{base}/c", b""))[0].removeprefix(base))
    err("child of an ephemeral", calls.create(f"{base}/e/x", b""))
    err("node exists", calls.create(f"{base}/two", b""))
    err("no parent", calls.create(f"{base}/none/x", b""))
    err("invalid acl", calls.create(f"{base}/x", b"", []))
    err("bad path", calls.create(f"{base}//x", b""))
    stat = s.do(calls.set_data(f"{base}/two", b"new", 0))
    seen.append((stat.version, stat.data_length))
    err("bad version", calls.set_data(f"{base}/two", b"", 0))
    err("set of nothing", calls.set_data(f"{base}/none", b""))
    err("not empty", calls.delete(base))
    err("delete at a bad version", calls.delete(f"{base}/two", 7))
    seen.append(s.do(calls.set_acl(f"{base}/two", READ_ONLY_ACL)).aversion)
    _wait_for_acl(leader, f"{base}/two")
    err("no auth", calls.set_data(f"{base}/two", b"x"))
    seen.append(s.auth("digest", DIGEST_USER))
    s.do(calls.create(f"{base}/mine", b"", calls.CREATOR_ACL))
    seen.append([(one.perms, one.id.scheme, one.id.id) for one in s.do(calls.get_acl(f"{base}/mine"))[0]])
    seen += _multis(s, base)
    seen.append(s.do(calls.sync(base)).removeprefix(base))
    seen.append(sorted(name.removeprefix(base) for name in s.do(calls.get_ephemerals(base))))
    seen.append(s.do(calls.get_all_children_number(base)))
    seen.append(sorted((one.auth_scheme, one.user) for one in s.do(calls.who_am_i())))
    err("delete", calls.delete(f"{base}/m"))
    err("delete again", calls.delete(f"{base}/m"))
    s.end()
    return seen


def _wait_for_acl(leader: ServerProcess, path: str) -> None:
    """Until the leader's tree has READ_ONLY_ACL there.

    Apache's leader judges a write by the ACLs that it has applied, and an observer may have told its client
    of a setACL earlier than that (docs/divergence.md).
    """
    s = Session().connect(leader.address)
    perms = [one.perms for one in READ_ONLY_ACL]
    poll(
        "the leader has applied the ACL",
        10,
        lambda: [one.perms for one in s.do(calls.get_acl(path))[0]] == perms or None,
    )
    s.end()


def _multis(s: Session, base: str) -> list[Any]:
    """One that succeeds, one that fails as a whole, one with a failing check."""
    seen: list[Any] = []
    good = [
        calls.part_of(calls.create(f"{base}/m", b"1")),
        calls.part_of(calls.set_data(f"{base}/m", b"2")),
        calls.check_part(f"{base}/m", 1),
        calls.part_of(calls.create(f"{base}/gone", b"")),
        calls.part_of(calls.delete(f"{base}/gone")),
    ]
    seen.append([(part.op, part.err) for part in s.do(calls.multi(good))])
    bad = [
        calls.part_of(calls.create(f"{base}/never", b"")),
        calls.part_of(calls.delete(f"{base}/none")),
        calls.part_of(calls.set_data(f"{base}/m", b"3")),
    ]
    seen.append([(part.op, part.err) for part in s.do(calls.multi(bad))])
    checks = [calls.check_part(f"{base}/m", 9), calls.part_of(calls.set_data(f"{base}/m", b"4"))]
    seen.append([(part.op, part.err) for part in s.do(calls.multi(checks))])
    seen.append(("nothing of a failed multi", s.error_of(calls.exists(f"{base}/never"))))
    seen.append(s.do(calls.get_data(f"{base}/m"))[0])
    return seen


def operations_everywhere(ensemble: Ensemble, base: str) -> int:
    """``every_operation`` through each member: all answer alike.  Returns how many answers were compared."""
    boss = Session().connect(running(ensemble)[0].address)
    boss.do(calls.create(base, b""))
    boss.end()
    answers = {}
    leads = ensemble.leader()
    assert leads is not None
    for member in running(ensemble):
        catch_up = Session().connect(member.address)
        catch_up.do(calls.sync("/"))
        catch_up.end()
        answers[member.name] = every_operation(member, f"{base}/{member.myid}", ensemble.members[leads])
    names = list(answers)
    for name in names[1:]:
        pairs = zip(answers[names[0]], answers[name], strict=True)
        found = [pair for pair in pairs if pair[0] != pair[1]]
        assert not found, f"{names[0]} and {name} answer otherwise: {found}"
    return sum(len(one) for one in answers.values())


def a_session_moves(ensemble: Ensemble, base: str) -> int:
    """One session goes round all members, with its ephemeral, and watches; returns how often it moved."""
    members = running(ensemble)
    mover = Session().connect(members[0].address)
    mover.do(calls.create(base, b""))
    mover.do(calls.create(f"{base}/e", b"", flags=codes.MODE_EPHEMERAL))
    moves = 0
    for index, member in enumerate([*members[1:], members[0]]):
        mover.drop()
        # A member that is behind what the session has seen refuses it for a moment.
        mover.connect_when_possible(member.address)
        moves += 1
        stat = mover.do(calls.exists(f"{base}/e"))
        assert stat.ephemeral_owner == mover.session_id
        # A watch set here hears of a write made elsewhere, before any reply that shows it.
        assert mover.error_of(calls.exists(f"{base}/{index}", 1)) == codes.ERR_NO_NODE
        writer = Session().connect(members[index].address)
        writer.do(calls.sync("/"))
        writer.do(calls.create(f"{base}/{index}", b""))
        writer.end()
        assert mover.wait_event() == (codes.EVENT_NODE_CREATED, f"{base}/{index}")
        mover.do(calls.set_data(f"{base}/e", str(index).encode()))
    _the_old_connection_is_over(mover, members)
    mover.end()
    for member in members:
        _wait_gone(member, f"{base}/e")
    return moves


def _the_old_connection_is_over(mover: Session, members: list[ServerProcess]) -> None:
    """The session speaks elsewhere: through its old connection nothing may happen any more."""
    twin = Session()
    twin.session_id, twin.password, twin.zxid = mover.session_id, mover.password, mover.zxid
    elsewhere = next(member for member in members if member.address != _address_of(mover))
    twin.connect_when_possible(elsewhere.address)
    twin.do(calls.sync("/"))
    try:
        code = mover.error_of(calls.create("/never", b""))
    except OSError:
        code = codes.ERR_SESSION_MOVED
    assert code == codes.ERR_SESSION_MOVED, f"a write through the old connection: {code}"
    mover.drop()
    mover.zxid = twin.zxid
    assert twin.error_of(calls.exists("/never")) == codes.ERR_NO_NODE
    twin.drop()
    mover.connect_when_possible(elsewhere.address)


def _address_of(session: Session) -> str:
    host, port = session.peer()
    return f"{host}:{port}"


def _wait_gone(member: ServerProcess, path: str) -> None:
    looker = Session().connect(member.address)
    gone = codes.ERR_NO_NODE
    poll(f"{path} vanishes on {member.name}", 30, lambda: looker.error_of(calls.exists(path)) == gone or None)
    looker.end()


def sessions_end(ensemble: Ensemble, base: str) -> int:
    """A silent session expires with its ephemerals, on every member; strangers cannot take one over."""
    members = running(ensemble)
    keeper = Session().connect(members[0].address)
    keeper.do(calls.create(base, b""))
    silent = {}
    for member in members:
        session = Session(timeout_ms=1000).connect(member.address)
        session.do(calls.sync("/"))
        session.do(calls.create(f"{base}/{member.myid}", b"", flags=codes.MODE_EPHEMERAL))
        thief = Session()
        thief.session_id, thief.password = session.session_id, b"x" * 16
        _refused(thief, members[-1])
        silent[member] = session
    for session in silent.values():
        session.drop()
    for member, session in silent.items():
        for other in members:
            _wait_gone(other, f"{base}/{member.myid}")
        _refused(session, member)
    keeper.end()
    return len(members)


def _refused(session: Session, member: ServerProcess) -> None:
    with pytest.raises(KeeperError) as refusal:
        session.connect(member.address)
    assert refusal.value.code == codes.ERR_SESSION_EXPIRED
    session.drop()

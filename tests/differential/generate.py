"""Random runs: a list of steps by several sessions below one root node.

Everything is drawn from one ``random.Random``, so a seed is a run.  Names are few, so that operations meet;
bad values are drawn on purpose, a few in a hundred.  What a server does in its own time (expiry, removal of
containers and TTL nodes) is kept out of the run by the settings both servers get.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tests.differential.wire import Op, encode

from zabra.proto import codes

Step = tuple[Any, ...]
_T = TypeVar("_T")

SESSIONS: Final = 6
BATCH_OPS: Final = 24
NAMES: Final = ("a", "b", "c", "d")
USERS: Final = ("alice", "bob")
SUPER: Final = b"super:test"
SUPER_DIGEST: Final = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="

WORLD: Final = ((31, "world", "anyone"),)
# The empty path is "/" to a read.  No surrogates, which the two decode into different numbers of replacement
# characters; nor, anywhere, null in place of a path or a list: docs/divergence.md.
BAD_PATHS: Final = (
    "",
    "x",
    "//",
    "a/b",
    "/./x",
    "/..",
    "/a//b",
    "/a/",
    "/a/b/",
    "/a/.",
    "/a/../b",
    "/\x00",
    "/a\x00b",
    "/\x01",
    "/a\x1fb",
    "/a\x7fb",
    "/a\x9fb",
    "/\ufff0",
    "/\ue000",
    "/\uf8ff",
    "/\ud7ff",
    "/\ufeff",
    "/\U0001f600",
    "/\udcff",
    "/a\udcc3",
    "/\udcc0\udc80",
    "/é",
    "/ ",
)
OUTSIDE: Final = ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota", "/nowhere")
UNKNOWN_OPCODES: Final = (0, 10, codes.OP_CHECK, 23, 99, 108, 200, -1, -2, -12, 2**31 - 1, -(2**31))
BIG: Final = 2**31 - 1


def digest_id(user: str, password: str) -> str:
    """The id that scheme digest gives to ``user:password``."""
    raw = f"{user}:{password}".encode()
    return f"{user}:{base64.b64encode(hashlib.sha1(raw).digest()).decode()}"


class Generator:
    """Draws the steps of one run below ``root``."""

    def __init__(self, rng: random.Random, root: str, *, quota: bool, malformed: bool) -> None:
        self.rng = rng
        self.root = root
        self.quota = quota
        self.malformed = malformed
        self._writes: list[tuple[int, Callable[[], Op]]] = [
            (30, self._create),
            (14, self._delete),
            (18, self._set_data),
            (5, self._set_acl),
            (10, self._multi),
            (5, self._create_ttl),
        ]
        self._reads: list[tuple[int, Callable[[], Op]]] = [
            (12, lambda: ("exists", self.path(), self._flag())),
            (14, lambda: ("get_data", self.path(), self._flag())),
            (6, lambda: ("get_acl", self.path())),
            (8, lambda: ("get_children", self.path(), self._flag())),
            (8, lambda: ("get_children2", self.path(), self._flag())),
            (4, lambda: ("sync", self.path())),
            (2, lambda: ("ping",)),
            (5, self._multi_read),
            (6, lambda: ("add_watch", self.path(), self._odd(rng.randint(0, 1), (2, -1, 7)))),
            (4, lambda: ("remove_watches", self.path(), self._odd(rng.randint(1, 5), (0, 6, -1)))),
            (4, lambda: ("check_watches", self.path(), self._odd(rng.randint(1, 5), (0, 6, -1)))),
            (4, self._set_watches),
            (2, lambda: ("who_am_i",)),
            (3, lambda: ("get_ephemerals", self._odd(self.path(), ("", "/", " ", "d", root[:-1])))),
            (3, lambda: ("get_all_children_number", self.path())),
            (1, lambda: ("reconfig", self._odd(None, ("server.9=a:1:2;3",)), None, None, -1)),
        ]

    # Values.

    def _odd(self, usual: _T, odd: tuple[_T, ...], share: float = 0.05) -> _T:
        return self.rng.choice(odd) if self.rng.random() < share else usual

    def _flag(self) -> int:
        return self._odd(int(self.rng.random() < 0.4), (2, 255), 0.01)

    def path(self) -> str:
        """A path, usually of a node that may exist below the root."""
        draw = self.rng.random()
        if draw < 0.93:
            depth = self.rng.choice((0, 1, 1, 1, 2, 2, 2, 3))
            return self.root + "".join("/" + self.rng.choice(NAMES) for _ in range(depth))
        if draw < 0.95:
            return self.root + f"/{self.rng.choice(NAMES)}{self.rng.randint(0, 9):010d}"
        if draw < 0.96:
            return self.rng.choice(OUTSIDE)
        return self._odd(self.root, ("",), 0.3) + self.rng.choice(BAD_PATHS)

    def _write_path(self) -> str:
        path = self.path()
        return self.root if path in OUTSIDE and self.rng.random() < 0.8 else path

    def data(self) -> bytes | None:
        """Node data: null, empty or a few bytes."""
        size = self.rng.choice((-1, 0, 1, 3, 10, 40))
        return None if size < 0 else bytes([self.rng.randint(32, 126)]) * size

    def _version(self) -> int:
        return self.rng.choice((-1, -1, -1, -1, 0, 0, 1, 2, self._odd(3, (-2, BIG, -(2**31)))))

    def acl(self) -> tuple[tuple[int, str | None, str | None], ...]:
        """An ACL, mostly open, sometimes restricted, now and then invalid."""
        draw = self.rng.random()
        if draw < 0.78:
            return WORLD
        if draw < 0.95:
            count = self.rng.choice((1, 1, 2, 3))
            return tuple(self._entry() for _ in range(count))
        return self.rng.choice(
            (
                (),
                ((31, "world", "nobody"),),
                ((31, "nosuch", "x"),),
                ((31, "", ""),),
                ((31, "auth", ""),),
                ((31, "digest", "nocolon"),),
                ((31, "digest", "a:b:c"),),
                ((31, "digest", ""),),
                ((0, "world", "anyone"),),
                ((31, "ip", "1.2.3"),),
                ((31, "ip", "1.2.3.4/33"),),
                ((31, "ip", "300.1.1.1"),),
                ((31, "ip", ""),),
                ((31, "ip", "127.0.0.1/-1"),),
                ((-1, "world", "anyone"),),
                ((255, "world", "anyone"),),
                ((31, "super", ""),),
                WORLD + WORLD,
                ((1, "world", "anyone"), *WORLD),
                ((31, "x509", "CN=a"),),
                ((31, "sasl", "a"),),
            )
        )

    def _entry(self) -> tuple[int, str, str]:
        perms = self.rng.choice((31, 31, 1, 3, 5, 9, 15, 17, 30, 24))
        scheme = self.rng.choice(("world", "world", "auth", "digest", "digest", "ip"))
        if scheme == "world":
            return perms, scheme, "anyone"
        if scheme == "auth":
            return perms, scheme, self._odd("", ("x",))
        if scheme == "ip":
            return perms, scheme, self.rng.choice(("127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "10.1.2.3"))
        user = self.rng.choice(USERS)
        return perms, scheme, digest_id(user, "secret")

    # Operations.

    def _create(self) -> Op:
        code = self.rng.choice(
            (codes.OP_CREATE,) * 3 + (codes.OP_CREATE2,) * 3 + (codes.OP_CREATE_CONTAINER,)
        )
        flags = 4 if code == codes.OP_CREATE_CONTAINER else self.rng.choice((0, 0, 0, 0, 1, 1, 2, 3))
        flags = self._odd(flags, (0, 1, 2, 3, 4, 5, 6, 7, -1, 99), 0.04)
        path = self._write_path()
        if flags in (2, 3) and self.rng.random() < 0.3:
            path += "/"
        return "create", code, path, self.data(), self.acl(), flags

    def _create_ttl(self) -> Op:
        flags = self._odd(self.rng.choice((5, 5, 6)), (0, 1, 2, 3, 4, 7, -1), 0.1)
        ttl = self._odd(3_600_000, (0, -1, -5, 1, 2**40 - 1, 2**40, 2**63 - 1, -(2**63)), 0.1)
        ttl = 3_600_000 if ttl == 1 else ttl
        # With plain flags and a negative ttl upstream 3.9 logs the request and ends: now, and at every start.
        ttl = ttl if flags in (5, 6) else max(ttl, 0)
        return "create_ttl", self._write_path(), self.data(), self.acl(), flags, ttl

    def _delete(self) -> Op:
        return "delete", self._write_path(), self._version()

    def _set_data(self) -> Op:
        return "set_data", self._write_path(), self.data(), self._version()

    def _set_acl(self) -> Op:
        path = self._write_path()
        if path in OUTSIDE:
            path = self.root + "/a"
        acl = WORLD if path == self.root and self.rng.random() < 0.9 else self.acl()
        return "set_acl", path, acl, self._version()

    def _multi(self) -> Op:
        kinds = (
            self._create,
            self._create,
            self._delete,
            self._set_data,
            self._set_data,
            self._check,
            self._create_ttl,
        )
        parts = [self.rng.choice(kinds)() for _ in range(self.rng.choice((0, 1, 2, 2, 3, 3, 4, 6)))]
        if self.rng.random() < 0.03 and self.malformed:
            parts.append(
                self.rng.choice((("get_data", self.root, 0), ("set_acl", self.root, WORLD, -1), ("ping",)))
            )
        return "multi", tuple(parts)

    def _check(self) -> Op:
        return "check", self.path(), self._version()

    def _multi_read(self) -> Op:
        kinds = (
            lambda: ("get_data", self.path(), self._flag()),
            lambda: ("get_children", self.path(), self._flag()),
        )
        parts: list[Op] = [self.rng.choice(kinds)() for _ in range(self.rng.choice((0, 1, 2, 3, 5)))]
        if self.rng.random() < 0.03 and self.malformed:
            parts.append(self.rng.choice((("delete", self.root, -1), ("exists", self.root, 0))))
        return "multi_read", tuple(parts)

    def _set_watches(self) -> Op:
        relative = self.rng.choice(("last", "last", "last", "past", "zero", "future"))
        lists = [tuple(self.path() for _ in range(self.rng.choice((0, 0, 1, 2, 4)))) for _ in range(5)]
        return (
            ("set_watches", relative, *lists[:3])
            if self.rng.random() < 0.5
            else ("set_watches2", relative, *lists)
        )

    def _raw(self) -> Op:
        """A valid operation whose body is cut, extended or has a byte changed."""
        code, body = encode(resolve(self._draw(self._writes + self._reads), 1))
        if code in (codes.OP_PING, codes.OP_WHO_AM_I) or not body:
            return "raw", code, b"junk"
        draw = self.rng.random()
        if draw < 0.6:
            return "raw", code, body[: self.rng.randint(0, len(body) - 1)]
        if draw < 0.8:
            return "raw", code, body + bytes(self.rng.randint(1, 9))
        place = self.rng.randint(0, min(3, len(body) - 1))
        return "raw", code, body[:place] + bytes([self.rng.randint(0, 255)]) + body[place + 1 :]

    def _draw(self, table: list[tuple[int, Callable[[], Op]]]) -> Op:
        return self.rng.choices(table, [weight for weight, _ in table])[0][1]()

    def op(self) -> Op:
        """One operation that may share a batch with others."""
        draw = self.rng.random()
        if draw < 0.015 and self.malformed:
            return self._raw()
        return self._draw(self._writes if draw < 0.5 else self._reads)

    # Steps.

    def _auth(self) -> Op:
        user = self.rng.choice(USERS)
        usual = ("auth", "digest", f"{user}:secret".encode())
        odd = (
            ("auth", "digest", b"nocolon"),
            ("auth", "digest", b""),
            ("auth", "digest", SUPER),
            ("auth", "ip", b""),
            ("auth", "ip", b"x"),
            ("sasl", b""),
            ("sasl", b"token"),
        )
        return self._odd(usual, odd, 0.3)

    def _batch(self, session: int) -> Step:
        return "batch", session, tuple(self._ops(1 if self.quota else self.rng.randint(1, BATCH_OPS)))

    def _ops(self, most: int) -> list[Op]:
        """Operations up to ``most``, or to the first setACL.

        Upstream checks a write that waits behind a setACL of the same node sometimes against the old ACL and
        sometimes against the new one, so the setACL has to be done first.
        """
        out: list[Op] = []
        while len(out) < most:
            out.append(self.op())
            if out[-1][0] == "set_acl" or out[-1][:2] == ("raw", codes.OP_SET_ACL):
                break
        return out

    def _closing(self, session: int) -> Step:
        """A batch whose last operation makes the server close the connection."""
        if self.rng.random() < 0.5:
            before = self._ops(0 if self.quota else self.rng.randint(0, 3))
            ends = not before or before[-1][0] == "set_acl" or before[-1][:2] == ("raw", codes.OP_SET_ACL)
            return "batch", session, (*before[: -1 if ends else None], ("close_session",))
        # Upstream answers these at once, before replies that still wait for their turn: each goes alone.
        unknown = ("raw", self.rng.choice(UNKNOWN_OPCODES), self.rng.choice((b"", b"junkjunk")))
        alone = self.rng.choice((("auth", "nosuch", b"x"), ("auth", "world", b""), unknown, unknown, unknown))
        return "batch", session, (alone,)

    def _step(self, session: int, connected: list[bool], dropped: list[bool]) -> list[Step]:
        if not connected[session]:
            if dropped[session] and self.rng.random() < 0.1:
                return [("resume", session, "wrong password")]
            connected[session] = True
            if dropped[session] and self.rng.random() < 0.85:
                dropped[session] = False
                return [("resume", session, "good"), ("batch", session, (self._set_watches(),))]
            dropped[session] = False
            return [("connect", session, self._odd("full", ("short", "read-only"), 0.3))]
        draw = self.rng.random()
        if draw < 0.03:
            connected[session] = False
            dropped[session] = True
            return [("drop", session)]
        if draw < 0.05:
            connected[session] = False
            return [self._closing(session)]
        if draw < 0.10:
            return [("batch", session, (self._auth(),))]
        return [self._batch(session)]

    def _quota_nodes(self) -> list[Step]:
        """Limits on the root and one child, in the shapes upstream's command line writes."""
        base = "/zookeeper/quota" + self.root
        create = codes.OP_CREATE
        limits = self.rng.choice(
            (
                b"count=30,bytes=-1",
                b"count=-1,bytes=400",
                b"count=10,bytes=100",
                b"count=-1,bytes=-1=;countHardLimit=4",
                b"count=-1,bytes=-1=;byteHardLimit=40",
                b"count=5,bytes=50=;byteHardLimit=100;countHardLimit=7",
            )
        )
        nodes = [
            (base, b""),
            (base + "/zookeeper_limits", limits),
            (base + "/zookeeper_stats", b"count=0,bytes=0"),
        ]
        if self.rng.random() < 0.5:
            inner = base + "/a"
            nodes += [(inner, b""), (inner + "/zookeeper_limits", b"count=-1,bytes=-1=;countHardLimit=2")]
            nodes += [(inner + "/zookeeper_stats", b"count=0,bytes=0")]
        return [("batch", 0, (("create", create, path, data, WORLD, 0),)) for path, data in nodes]

    def _quota_look(self, session: int) -> list[Step]:
        base = "/zookeeper/quota" + self.root
        drop = (("delete", base + "/a/zookeeper_limits", -1),) if self.rng.random() < 0.02 else ()
        looks = (
            ("get_data", base + "/zookeeper_stats", 0),
            ("get_data", base + "/a/zookeeper_stats", 0),
            *drop,
        )
        return [("batch", session, looks)]

    def run(self, ops: int) -> list[Step]:
        """Steps with about ``ops`` operations in all."""
        steps: list[Step] = [("connect", 0, "full")]
        steps.append(("batch", 0, (("create", codes.OP_CREATE, self.root, b"", WORLD, 0),)))
        if self.quota:
            steps += self._quota_nodes()
        connected = [True] + [False] * (SESSIONS - 1)
        dropped = [False] * SESSIONS
        done = 0
        while done < ops:
            session = self.rng.randrange(SESSIONS)
            new = self._step(session, connected, dropped)
            if self.quota and connected[session] and self.rng.random() < 0.2:
                new += self._quota_look(session)
            steps += new
            done += sum(len(step[2]) for step in new if step[0] == "batch")
        return steps


def relocate(value: Any, old: str, new: str) -> Any:
    """The same steps below another root of the same length."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, bytes):
        return value.replace(old.encode(), new.encode())
    if isinstance(value, tuple):
        return tuple(relocate(item, old, new) for item in value)
    if isinstance(value, list):
        return [relocate(item, old, new) for item in value]
    return value


def resolve(op: Op, last_zxid: int, zxid_of: Callable[[int], int] = int) -> Op:
    """Puts a zxid where a setWatches has a word for one.

    ``last_zxid`` is the last one the session saw on the left; ``zxid_of`` gives the server's own of it.
    """
    if op[0] not in ("set_watches", "set_watches2"):
        return op
    zxid = {"last": last_zxid, "past": last_zxid - 20, "zero": 0, "future": last_zxid + 1000}[op[1]]
    return op[0], zxid_of(zxid), *op[2:]

"""AclTrail: which ACL was in force on a path just before some txn of the recent past.

The tree knows the ACLs of now.  Whoever shows the *past* of a node to others (the feed's HTTP door) must
judge it by the ACL of then, as a watch is judged when it fires.  So whenever a node's ACL comes to its end,
by setACL or with the node, it is noted here with its zxid; the ACL at some zxid is the first that ended
after it, or else the node's own.  Kept only where somebody asks for it (``Settings.keep_acl_trail``).

A tree loaded from a fuzzy snapshot may be ahead of the txns that are replayed into it, and the ACLs that it
had in between are then not known.  Each such txn shows itself by not fitting, and moves ``floor``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.proto.codes import PERM_READ
from zabra.proto.records import ACL

# Endings that are kept; when there are more, the oldest quarter goes.
ENTRIES_MAX: Final = 100_000


def is_readable_by_all(acl: list[ACL]) -> bool:
    """Whether nobody needs to show who he is to read; an empty list allows everything."""
    for entry in acl:
        if entry.perms & PERM_READ and entry.id.id == "anyone" and entry.id.scheme == "world":
            return True
    return not acl


class Ending:
    """The ACL (None: everybody may read) that the node made by ``czxid`` had until ``zxid``."""

    __slots__ = ("acl", "czxid", "zxid")

    def __init__(self, zxid: i64, czxid: i64, acl: list[ACL] | None) -> None:
        self.zxid: i64 = zxid
        self.czxid: i64 = czxid
        self.acl: list[ACL] | None = acl


class AclTrail:
    """See the module.  ``floor``: the ACLs in force are known for every txn after this zxid."""

    __slots__ = ("_by_path", "_first", "_limit", "_order", "floor")

    def __init__(self, floor: i64, limit: i64 = ENTRIES_MAX) -> None:
        self.floor: i64 = floor
        self._limit: i64 = limit
        self._by_path: dict[str, list[Ending]] = {}
        # (zxid, path) of all endings, oldest first from ``_first`` on.
        self._order: list[tuple[int, str]] = []
        self._first: i64 = 0

    def size(self) -> i64:
        """How many endings are kept."""
        return len(self._order) - self._first

    def unsure(self, zxid: i64) -> None:
        """A txn did not fit the tree, which is ahead of it: nothing is known up to there."""
        if zxid > self.floor:
            self.floor = zxid

    def deleted(self, path: str, czxid: i64, acl: list[ACL], zxid: i64) -> None:
        """A node is gone.  What everybody could read needs no note: a later node has a later ``czxid``."""
        if czxid > zxid:
            self.unsure(zxid)
        elif not is_readable_by_all(acl):
            self._add(path, Ending(zxid, czxid, acl))

    def replaced(self, path: str, czxid: i64, acl: list[ACL], zxid: i64) -> None:
        """A node has got another ACL."""
        if czxid > zxid:
            self.unsure(zxid)
        self._add(path, Ending(zxid, czxid, None if is_readable_by_all(acl) else acl))

    def _add(self, path: str, ending: Ending) -> None:
        known = self._by_path.get(path)
        if known is None:
            self._by_path[path] = [ending]
        else:
            known.append(ending)
        self._order.append((ending.zxid, path))
        if self.size() > self._limit:
            self._thin_out()

    def _thin_out(self) -> None:
        first = self._first
        end = first + self._limit // 4 + 1
        while first < end:
            zxid, path = self._order[first]
            known = self._by_path[path]
            del known[0]
            if not known:
                del self._by_path[path]
            self.unsure(zxid)
            first += 1
        self._first = 0
        del self._order[:first]

    def find(self, path: str, zxid: i64) -> Ending | None:
        """The first ending on the path that is not before ``zxid``; None: the node of now is to be asked."""
        known = self._by_path.get(path)
        if known is not None:
            for ending in known:
                if ending.zxid >= zxid:
                    return ending
        return None

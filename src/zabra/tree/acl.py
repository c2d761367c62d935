"""AclCache: each distinct ACL is kept once and named by a number.

Nodes and snapshots hold the number; -1 is always world:anyone:cdrwa and needs no entry.  Numbers are local
to a server.  Source: upstream ``ReferenceCountedACLCache``, ``ZooDefs.Ids``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import Writer
from zabra.proto.codes import PERM_ALL, PERM_READ
from zabra.proto.records import ACL, Id, write_acl_vector

ANYONE_ID_UNSAFE: Final = Id("world", "anyone")
AUTH_IDS: Final = Id("auth", "")
OPEN_ACL_UNSAFE: Final = [ACL(PERM_ALL, ANYONE_ID_UNSAFE)]
READ_ACL_UNSAFE: Final = [ACL(PERM_READ, ANYONE_ID_UNSAFE)]
CREATOR_ALL: Final = [ACL(PERM_ALL, AUTH_IDS)]
# Stands for an ACL that a fuzzy snapshot could not carry, until replay sets the real one: super only.
UNRESOLVED_ACL: Final = [ACL(PERM_ALL, Id("super", ""))]

OPEN_ACL_ID: Final = -1
# The number under which a fuzzy snapshot lists UNRESOLVED_ACL; upstream's numbers begin at 1.
UNRESOLVED_ACL_ID: Final = 0

AclKey = tuple[tuple[int, str, str], ...]


def is_open(acl: list[ACL]) -> bool:
    """Whether this is exactly world:anyone:cdrwa."""
    if len(acl) != 1:
        return False
    entry = acl[0]
    return entry.perms == PERM_ALL and entry.id.id == "anyone" and entry.id.scheme == "world"


def _key(acl: list[ACL]) -> AclKey:
    return tuple([(entry.perms, entry.id.scheme, entry.id.id) for entry in acl])


class AclCache:
    """ACLs by number, with the number of nodes that use each."""

    __slots__ = ("_by_id", "_ids", "_next", "_usage")

    def __init__(self) -> None:
        self._by_id: dict[int, list[ACL]] = {}
        self._ids: dict[AclKey, int] = {}
        self._usage: dict[int, int] = {}
        self._next: i64 = 1

    def size(self) -> i64:
        """How many ACLs are kept (world:anyone:cdrwa is not counted)."""
        return len(self._by_id)

    def intern(self, acl: list[ACL]) -> i64:
        """The number of ``acl``, used once more from now on."""
        if is_open(acl):
            return OPEN_ACL_ID
        key = _key(acl)
        known = self._ids.get(key)
        if known is not None:
            self._usage[known] = self._usage[known] + 1
            return known
        number: int = self._next
        self._next += 1
        self._ids[key] = number
        self._by_id[number] = acl
        self._usage[number] = 1
        return number

    def get(self, acl_id: i64) -> list[ACL]:
        """The ACL of a number that a node holds.  The list is shared: never change it."""
        if acl_id == OPEN_ACL_ID:
            return OPEN_ACL_UNSAFE
        return self._by_id[acl_id]

    def contains(self, acl_id: i64) -> bool:
        """Whether the number stands for an ACL."""
        return acl_id == OPEN_ACL_ID or acl_id in self._by_id

    def usage(self, acl_id: i64) -> i64:
        """How many nodes use the number (0 also for -1, which nobody counts)."""
        return self._usage.get(acl_id, 0)

    def add_usage(self, acl_id: i64) -> None:
        """One more node holds the number, which must be known."""
        if acl_id != OPEN_ACL_ID:
            self._usage[acl_id] = self._usage[acl_id] + 1

    def remove_usage(self, acl_id: i64) -> None:
        """One node less; the last one takes the entry with it."""
        if acl_id == OPEN_ACL_ID:
            return
        left: int = self._usage[acl_id] - 1
        if left > 0:
            self._usage[acl_id] = left
        else:
            self._drop(acl_id)

    def put_loaded(self, acl_id: i64, acl: list[ACL]) -> None:
        """Enters a row of a snapshot's ACL table, used by no node so far.

        A table with one list under two numbers keeps both; the later one is found by ``intern``.
        """
        self._by_id[acl_id] = acl
        self._ids[_key(acl)] = acl_id
        self._usage[acl_id] = 0
        if acl_id >= self._next:
            self._next = acl_id + 1

    def purge_unused(self) -> None:
        """Drops the loaded rows that no node took up."""
        for acl_id in [number for number, count in self._usage.items() if count <= 0]:
            self._drop(acl_id)

    def _drop(self, acl_id: i64) -> None:
        acl = self._by_id.pop(acl_id)
        del self._usage[acl_id]
        key = _key(acl)
        if self._ids.get(key) == acl_id:
            del self._ids[key]

    def next_id(self) -> i64:
        """The number the next new ACL will get; every number in use is below it."""
        return self._next

    def items(self) -> list[tuple[int, list[ACL]]]:
        """All rows, in the order they are serialised: that of their making."""
        return list(self._by_id.items())

    def clear(self) -> None:
        """Forgets everything; numbers start again."""
        self._by_id.clear()
        self._ids.clear()
        self._usage.clear()
        self._next = 1


def write_acl_table(w: Writer, rows: list[tuple[int, list[ACL]]]) -> None:
    """The ACL table of a snapshot: a count, then number and list of each row."""
    w.write_int(len(rows))
    for acl_id, acl in rows:
        w.write_long(acl_id)
        write_acl_vector(w, acl)

"""Who may see which change: judged by the ACLs that were in force when it was made.

A created node is judged by the ACL that it was created with; changed data and deleted nodes by the ACL in
force just before; a changed ACL by either, but who is shut out by it is not told what it says.  Sessions,
and what was refused, no client can read: only the super user sees them.

The server tells the ACLs before a txn (``Before``) for those paths that not everybody could read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from zabra.auth.registry import Providers
from zabra.auth.schemes import SUPER
from zabra.plugins.publisher import Change
from zabra.proto import codes
from zabra.proto.records import ACL, Id
from zabra.tree.acl_trail import is_readable_by_all

# An ACL as it travels: (perms, scheme, id) of each entry.
PlainAcl = tuple[tuple[int, str, str], ...]
# Restricted ACLs by path, before one txn.
Before = dict[str, PlainAcl]
NOTHING: Final[Before] = {}
# In the place of Before: too long ago.
UNKNOWN: Final = None


def plain(acl: Sequence[ACL]) -> PlainAcl:
    """Of an ACL."""
    return tuple([(int(entry.perms), entry.id.scheme, entry.id.id) for entry in acl])


def touched(changes: Sequence[Change]) -> list[str]:
    """The paths whose ACL before the txn matters: those that it does not itself create first."""
    found: dict[str, None] = {}
    created: dict[str, None] = {}
    for change in changes:
        if change.op == "create":
            created[change.path] = None
        elif change.path and change.path not in created:
            found[change.path] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Judged:
    """One change, and the ACLs by which it is judged (None: everybody may read).

    ``old`` is only set for a setACL: the ACL that came to its end.
    """

    change: Change
    acl: PlainAcl | None
    old: PlainAcl | None = None


def judge(changes: Sequence[Change], before: Before) -> list[Judged]:
    """The ACL for each change of one txn."""
    now: dict[str, PlainAcl | None] = {}
    out = []
    for change in changes:
        path = change.path
        if change.op == "create":
            assert change.acl is not None
            now[path] = acl = None if is_readable_by_all(list(change.acl)) else plain(change.acl)
            out.append(Judged(change, acl))
            continue
        acl = now[path] if path in now else before.get(path)
        if change.op == "setACL":
            assert change.acl is not None
            now[path] = new = None if is_readable_by_all(list(change.acl)) else plain(change.acl)
            out.append(Judged(change, new, acl))
        else:
            out.append(Judged(change, acl))
    return out


def all_open(judged: Sequence[Judged]) -> bool:
    """Whether everybody may see all of it."""
    return all(one.acl is None and one.old is None and one.change.path for one in judged)


class Reader:
    """What one set of credentials may see."""

    def __init__(self, providers: Providers, ids: list[Id]) -> None:
        self._providers = providers
        self._ids = ids
        self.sees_all = providers.skip_acl or any(id.scheme == SUPER for id in ids)
        """The super user, or everybody where ACLs are switched off."""
        self._known: dict[PlainAcl, bool] = {}

    def may_read(self, acl: PlainAcl | None) -> bool:
        """Whether the credentials give READ under ``acl``."""
        if acl is None or self.sees_all:
            return True
        known = self._known.get(acl)
        if known is None:
            if len(self._known) > 1000:
                self._known.clear()
            rows = [ACL(perms, Id(scheme, id)) for perms, scheme, id in acl]
            # The door has the built-in schemes only, none of which looks at the path.
            known = self._known[acl] = self._providers.check_acl(rows, codes.PERM_READ, self._ids, "")
        return known

    def shown(self, one: Judged) -> Change | None:
        """The change as these credentials may see it; None: not at all."""
        if self.sees_all:
            return one.change
        if not one.change.path:
            return None
        may = self.may_read(one.acl)
        if may or one.change.op != "setACL":
            return one.change if may else None
        return replace(one.change, acl=None) if self.may_read(one.old) else None

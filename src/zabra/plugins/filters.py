"""Which changes a reader of the feed wants: by path and by op."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from zabra.plugins.publisher import Change, CommittedTxn

OPS: Final = ("create", "delete", "setData", "setACL", "createSession", "closeSession", "reconfig")


class Filter:
    """Changes at and below ``path`` that are one of ``ops`` (empty: any) and that ``allows`` lets through.

    With a path other than "/" sessions are left out: they have none; but for the end of one whose txn does
    not list the ephemerals that went with it, which may be at the path.  Raises ValueError for a path that is
    none, and for an op that there is not.
    """

    def __init__(
        self, path: str = "/", ops: Iterable[str] = (), allows: Callable[[Change], bool] | None = None
    ) -> None:
        if not path.startswith("/") or (path != "/" and path.endswith("/")):
            raise ValueError(f"{path!r} is not a path")
        self.path = path
        self._below = "" if path == "/" else path + "/"
        self.ops = dict.fromkeys(ops)
        for op in self.ops:
            if op not in OPS:
                raise ValueError(f"there is no op {op!r}; there are: {', '.join(OPS)}")
        self._allows = allows

    def wants_path(self, path: str) -> bool:
        """Whether the path is the filter's or below it."""
        return self.path == "/" or path == self.path or path.startswith(self._below)

    def wants(self, change: Change) -> bool:
        """Whether the change is let through."""
        if not self.wants_path(change.path) and not change.unlisted:
            return False
        if self.ops and change.op not in self.ops:
            return False
        return self._allows is None or self._allows(change)

    def of(self, txns: Sequence[CommittedTxn]) -> list[CommittedTxn]:
        """The txns with what is wanted of them; those of which nothing is are left out."""
        found = []
        for txn in txns:
            changes = tuple([change for change in txn.changes if self.wants(change)])
            if len(changes) == len(txn.changes):
                # Refused requests have no changes: they are shown to those who want everything.
                if changes or (self.path == "/" and not self.ops and self._allows is None):
                    found.append(txn)
            elif changes:
                found.append(dataclasses.replace(txn, changes=changes, raw=b""))
        return found

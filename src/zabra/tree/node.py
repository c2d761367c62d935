"""DataNode: what the tree keeps of one znode.

Millions of these are alive at once, so the fields are flat words, the children are paths that the tree
holds anyway, and nothing here can be part of a reference cycle.  Source: upstream ``DataNode``.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from zabra.jute.primitives import Writer
from zabra.proto.records import Stat, StatPersisted
from zabra.tree.digest import node_digest

# ``DataNode.digest`` of a node whose digest is not kept and must be computed when it is asked for.
DIGEST_UNKNOWN: Final = -1

_SIGN: Final = 0x80000000
_MASK: Final = 0xFFFFFFFF


@mypyc_attr(acyclic=True)
class DataNode:
    """One znode.  ``acl_id`` is a key of the tree's AclCache; zxids and times (ms) are as persisted.

    ``cversion`` counts creates under this node, as on disk; clients see creates plus deletes (``to_stat``).
    ``ephemeral_owner`` is the raw word that also encodes container and TTL nodes; ``session_owner`` is what
    clients see of it: the owning session, or 0.  ``child_paths`` holds the *full paths* of the children, the
    very strings that key ``DataTree.nodes``: 64 bytes a node less than separate names.  Names are read with
    ``DataTree.children``.
    """

    __slots__ = (
        "acl_id",
        "aversion",
        "child_paths",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "ephemeral_owner",
        "mtime",
        "mzxid",
        "pzxid",
        "session_owner",
        "version",
    )

    def __init__(
        self,
        data: bytes | None,
        acl_id: i64,
        czxid: i64,
        mzxid: i64,
        pzxid: i64,
        ctime: i64,
        mtime: i64,
        version: i64,
        cversion: i64,
        aversion: i64,
        ephemeral_owner: i64,
        session_owner: i64,
    ) -> None:
        self.data: bytes | None = data
        self.acl_id: i64 = acl_id
        self.czxid: i64 = czxid
        self.mzxid: i64 = mzxid
        self.pzxid: i64 = pzxid
        self.ctime: i64 = ctime
        self.mtime: i64 = mtime
        self.version: i64 = version
        self.cversion: i64 = cversion
        self.aversion: i64 = aversion
        self.ephemeral_owner: i64 = ephemeral_owner
        self.session_owner: i64 = session_owner
        self.digest: i64 = DIGEST_UNKNOWN
        self.child_paths: dict[str, None] | None = None

    def num_children(self) -> i64:
        """How many children there are."""
        children = self.child_paths
        return 0 if children is None else len(children)

    def data_length(self) -> i64:
        """Bytes of data; 0 for null."""
        data = self.data
        return 0 if data is None else len(data)

    def client_cversion(self) -> i64:
        """cversion as clients see it: two for every create, less one for every child still there.

        A signed 32-bit number that wraps as Java's does.
        """
        value: i64 = (self.cversion * 2 - self.num_children()) & _MASK
        return value - (_MASK + 1) if value >= _SIGN else value

    def to_stat(self) -> Stat:
        """The client's view (upstream ``copyStat``)."""
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.client_cversion(),
            self.aversion,
            self.session_owner,
            self.data_length(),
            self.num_children(),
            self.pzxid,
        )

    def encode_stat(self, w: Writer) -> None:
        """Writes what ``to_stat().encode(w)`` would, without making the record."""
        w.write_long(self.czxid)
        w.write_long(self.mzxid)
        w.write_long(self.ctime)
        w.write_long(self.mtime)
        w.write_int(self.version)
        w.write_int(self.client_cversion())
        w.write_int(self.aversion)
        w.write_long(self.session_owner)
        w.write_int(self.data_length())
        w.write_int(self.num_children())
        w.write_long(self.pzxid)

    def to_persisted(self) -> StatPersisted:
        """The stat as snapshots and digests have it."""
        return StatPersisted(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion,
            self.aversion,
            self.ephemeral_owner,
            self.pzxid,
        )

    def compute_digest(self, path: str) -> i64:
        """What this node adds to the tree's digest while it stands at ``path``."""
        return node_digest(
            path,
            self.data,
            self.czxid,
            self.mzxid,
            self.pzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion,
            self.aversion,
            self.ephemeral_owner,
        )

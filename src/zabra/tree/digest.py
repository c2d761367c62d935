"""The digest of a node and of the whole tree (digest version 2).

A node counts as the CRC-32 of its path, data and stat; the tree counts as the sum of its nodes, so that a
change costs one subtraction and one addition.  Nodes under "/zookeeper/" count as zero, because servers
keep some of them by themselves.  The sum of fewer than 2^31 values of 32 bits stays within a signed long,
which is why nobody has to wrap it.  Source: upstream ``DigestCalculator``, ``AdHash``, ``NodeHashMapImpl``.
"""

from typing import Final
from zlib import crc32

from librt.strings import BytesWriter, write_i32_be, write_i64_be
from mypy_extensions import i64

from zabra.jute.primitives import encode_ustring

# Everything that begins so is left out of the digest ("/zookeeper" itself is not).
UNCOUNTED_PREFIX: Final = "/zookeeper/"
_COPY_BYTES: Final = 4096
# The digest of a tree as Apache ZooKeeper first makes it.
FRESH_TREE_DIGEST: Final = 1371985504


def node_digest(
    path: str,
    data: bytes | None,
    czxid: i64,
    mzxid: i64,
    pzxid: i64,
    ctime: i64,
    mtime: i64,
    version: i64,
    cversion: i64,
    aversion: i64,
    ephemeral_owner: i64,
) -> i64:
    """What one node adds to the tree's digest: an unsigned 32-bit number.

    ``cversion`` and ``ephemeral_owner`` are the persisted forms; "/" is counted under the empty path.
    """
    if path.startswith(UNCOUNTED_PREFIX):
        return 0
    # One checksum over everything is cheapest; only large data is not worth copying for that.
    out = BytesWriter()
    value: int = 0
    if path != "/":
        out.write(encode_ustring(path))
    if data is not None:
        if len(data) <= _COPY_BYTES:
            out.write(data)
        else:
            value = crc32(data, crc32(out.getvalue()))
            out.truncate(0)
    write_i64_be(out, czxid)
    write_i64_be(out, mzxid)
    write_i64_be(out, pzxid)
    write_i64_be(out, ctime)
    write_i64_be(out, mtime)
    narrow: int = version
    write_i32_be(out, narrow)
    narrow = cversion
    write_i32_be(out, narrow)
    narrow = aversion
    write_i32_be(out, narrow)
    write_i64_be(out, ephemeral_owner)
    return crc32(out.getvalue(), value)

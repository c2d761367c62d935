"""Txns and snapshots as JSON: one object a line, the same in files, over HTTP and in the terminal.

Zxids and session ids are hexadecimal text, for JSON's numbers lose digits.  Data is ``data`` where it is
UTF-8, else ``data64`` in base64; null where the node has none; absent where the change has none.
"""

import base64
import json
from typing import Any

from zabra.plugins.publisher import Change, CommittedTxn, SnapNode
from zabra.proto.records import ACL

_PERMS = (("r", 1), ("w", 2), ("c", 4), ("d", 8), ("a", 16))


def dump(value: object) -> str:
    """Compact JSON, without a line break."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def hex_of(value: int) -> str:
    """A zxid or session id, 64 bits, as text."""
    return f"0x{value & 0xFFFFFFFFFFFFFFFF:x}"


def put_data(out: dict[str, Any], data: bytes | None) -> None:
    """``data``, or ``data64``."""
    if data is None:
        out["data"] = None
        return
    try:
        out["data"] = data.decode("utf-8")
    except UnicodeDecodeError:
        out["data64"] = base64.b64encode(data).decode("ascii")


def acl_object(acl: tuple[ACL, ...]) -> list[dict[str, str]]:
    """Each entry's scheme, id and perms (letters as in zkCli)."""
    return [
        {
            "scheme": entry.id.scheme,
            "id": entry.id.id,
            "perms": "".join([letter for letter, bit in _PERMS if entry.perms & bit]),
        }
        for entry in acl
    ]


def change_object(change: Change) -> dict[str, Any]:
    """One change."""
    out: dict[str, Any] = {"index": change.index, "op": change.op}
    if change.path:
        out["path"] = change.path
    if change.op in ("create", "setData", "reconfig"):
        put_data(out, change.data)
    if change.version >= 0:
        out["version"] = change.version
    if change.acl is not None:
        out["acl"] = acl_object(change.acl)
    if change.owner:
        out["owner"] = hex_of(change.owner)
    return out


def txn_object(txn: CommittedTxn) -> dict[str, Any]:
    """One txn with its changes."""
    return {
        "zxid": hex_of(txn.zxid),
        "time": txn.time_ms,
        "session": hex_of(txn.session_id),
        "cxid": txn.cxid,
        "op": txn.op,
        "changes": [change_object(change) for change in txn.changes],
    }


def node_object(node: SnapNode) -> dict[str, Any]:
    """One node of a snapshot."""
    out: dict[str, Any] = {"path": node.path}
    put_data(out, node.data)
    out["version"] = node.version
    out["acl"] = acl_object(node.acl)
    if node.owner:
        out["owner"] = hex_of(node.owner)
    out["czxid"] = hex_of(node.czxid)
    out["mzxid"] = hex_of(node.mzxid)
    return out

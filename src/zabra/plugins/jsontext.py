"""Txns and snapshots as JSON: one object a line, the same in files, over HTTP and in the terminal.

Zxids and session ids are hexadecimal text, for JSON's numbers lose digits.  Data is ``data`` where it is
UTF-8, else ``data64`` in base64; null where the node has none; absent where the change has none.
"""

import base64
import json
from typing import Any

from zabra.plugins.publisher import Change, CommittedTxn, SnapNode
from zabra.proto.records import ACL, Id

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
    if change.unlisted:
        out["unlisted"] = True
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


def txn_of(row: dict[str, Any]) -> CommittedTxn:
    """What ``txn_object`` was made of, its raw bytes aside.  Raises KeyError, ValueError for what is none."""
    return CommittedTxn(
        int(row["zxid"], 16),
        int(row["time"]),
        _signed(row["session"]),
        int(row["cxid"]),
        str(row["op"]),
        tuple([_change_of(change) for change in row["changes"]]),
        b"",
    )


def _change_of(row: dict[str, Any]) -> Change:
    acl = row.get("acl")
    return Change(
        int(row["index"]),
        str(row["op"]),
        row.get("path", ""),
        data_of(row),
        int(row.get("version", -1)),
        None if acl is None else tuple([_acl_of(entry) for entry in acl]),
        _signed(row.get("owner", "0x0")),
        bool(row.get("unlisted", False)),
    )


def _signed(text: str) -> int:
    value = int(text, 16)
    return value - (1 << 64) if value >> 63 else value


def data_of(row: dict[str, Any]) -> bytes | None:
    """Of a change or node."""
    if "data64" in row:
        return base64.b64decode(row["data64"])
    data = row.get("data")
    return None if data is None else data.encode("utf-8")


def _acl_of(row: dict[str, str]) -> ACL:
    perms = sum([bit for letter, bit in _PERMS if letter in row["perms"]])
    return ACL(perms, Id(row["scheme"], row["id"]))

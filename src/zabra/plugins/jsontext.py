"""Txns and snapshots as JSON: one object a line, the same in files, over HTTP and in the terminal.

Zxids and session ids are hexadecimal text, for JSON's numbers lose digits.  Data is ``data`` where it is
UTF-8, else ``data64`` in base64; null where the node has none; absent where the change has none.
"""

import base64
import json
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any, Final

from zabra.plugins.publisher import Change, CommittedTxn, SnapNode
from zabra.proto.records import ACL, Id

_PERMS = (("r", 1), ("w", 2), ("c", 4), ("d", 8), ("a", 16))
_WITH_DATA: Final = ("create", "setData", "reconfig")
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


def dump(value: object) -> str:
    """Compact JSON, without a line break."""
    return _ENCODER.encode(value)


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
    if change.op in _WITH_DATA:
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


def change_text(change: Change) -> str:
    """``dump(change_object(change))``, in a third of the time."""
    out = f'{{"index":{change.index},"op":"{change.op}"'
    if change.path:
        out += f',"path":{encode_basestring(change.path)}'
    if change.op in _WITH_DATA:
        out += data_text(change.data)
    if change.version >= 0:
        out += f',"version":{change.version}'
    if change.acl is not None:
        out += f',"acl":{dump(acl_object(change.acl))}'
    if change.owner:
        out += f',"owner":"0x{change.owner & 0xFFFFFFFFFFFFFFFF:x}"'
    if change.unlisted:
        out += ',"unlisted":true'
    return out + "}"


def data_text(data: bytes | None) -> str:
    """``put_data``, as text behind something else."""
    if data is None:
        return ',"data":null'
    try:
        return f',"data":{encode_basestring(data.decode("utf-8"))}'
    except UnicodeDecodeError:
        return f',"data64":"{base64.b64encode(data).decode("ascii")}"'


def txn_text(txn: CommittedTxn, shown: Sequence[Change] | None = None) -> str:
    """A txn with its changes, or with those that are ``shown``: ``dump(txn_object(txn))``, but quickly."""
    changes = ",".join([change_text(change) for change in (txn.changes if shown is None else shown)])
    return (
        f'{{"zxid":"0x{txn.zxid & 0xFFFFFFFFFFFFFFFF:x}","time":{txn.time_ms},'
        f'"session":"0x{txn.session_id & 0xFFFFFFFFFFFFFFFF:x}","cxid":{txn.cxid},"op":"{txn.op}",'
        f'"changes":[{changes}]}}'
    )


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

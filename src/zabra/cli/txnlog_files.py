"""``zabra txnlog``: looks into, checks, repairs and cuts txn log files, ours and Apache ZooKeeper's.

Does what upstream's TxnLogToolkit and LogChopper do.  Never changes the file it is given: repair and chop
write another one.
"""

import argparse
import base64
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from zabra.jute.primitives import JuteError
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
)
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.runtime.os_disk import OsDisk
from zabra.storage import txnlog_format as fmt
from zabra.storage.errors import RottenLogError
from zabra.storage.log_reader import LogFileReader, list_logs
from zabra.tree.datatree import decode_part

# Fields of each record, in the order and by the names of upstream's IDL.
FIELDS: Final[dict[type, tuple[tuple[str, str], ...]]] = {
    CreateTxn: (
        *(("path", "path"), ("data", "data"), ("acl", "acl")),
        *(("ephemeral", "ephemeral"), ("parentCVersion", "parent_cversion")),
    ),
    CreateContainerTxn: (
        *(("path", "path"), ("data", "data"), ("acl", "acl")),
        ("parentCVersion", "parent_cversion"),
    ),
    CreateTTLTxn: (
        *(("path", "path"), ("data", "data"), ("acl", "acl")),
        *(("parentCVersion", "parent_cversion"), ("ttl", "ttl")),
    ),
    DeleteTxn: (("path", "path"),),
    SetDataTxn: (("path", "path"), ("data", "data"), ("version", "version")),
    SetACLTxn: (("path", "path"), ("acl", "acl"), ("version", "version")),
    CheckVersionTxn: (("path", "path"), ("version", "version")),
    CreateSessionTxn: (("timeOut", "time_out"),),
    CloseSessionTxn: (("paths2Delete", "paths2_delete"),),
    ErrorTxn: (("err", "err"),),
}
TXN_NAMES: Final = {
    codes.OP_CREATE: "create",
    codes.OP_CREATE2: "create2",
    codes.OP_CREATE_CONTAINER: "createContainer",
    codes.OP_CREATE_TTL: "createTTL",
    codes.OP_DELETE: "delete",
    codes.OP_DELETE_CONTAINER: "deleteContainer",
    codes.OP_SET_DATA: "setData",
    codes.OP_RECONFIG: "reconfig",
    codes.OP_SET_ACL: "setACL",
    codes.OP_CHECK: "check",
    codes.OP_MULTI: "multi",
    codes.OP_CREATE_SESSION: "createSession",
    codes.OP_CLOSE_SESSION: "closeSession",
    codes.OP_ERROR: "error",
}
# Letters in the order in which upstream prints them, with their bits.
_PERMS: Final = (("c", 4), ("d", 8), ("r", 1), ("w", 2), ("a", 16))
# Longer data is cut in text, unless all of it is asked for.
_SHOWN_BYTES: Final = 100


class Problem(Exception):
    """The file is not as it should be, or the request cannot be met; the text is for the user."""


def parse_zxid(text: str) -> int:
    """A zxid from the command line: 0x and hex digits, or decimal."""
    try:
        zxid = int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a zxid: write 0x and hex digits") from None
    if not 0 <= zxid < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text} is not a zxid: out of range")
    return zxid


def split_path(path: str) -> tuple[OsDisk, str]:
    """The disk and name for a file on the command line.  Raises Problem if there is no such file."""
    if not os.path.isfile(path):
        raise Problem(f"{path}: no such file")
    folder, name = os.path.split(os.path.abspath(path))
    return OsDisk(folder), name


def log_paths(paths: list[str]) -> list[str]:
    """The files to look at: those given, and for a folder its logs (or those in its version-2)."""
    out: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            out.append(path)
            continue
        inner = os.path.join(path, "version-2")
        folder = inner if os.path.isdir(inner) else path
        found = list_logs(OsDisk(folder), "")
        if not found:
            raise Problem(f"{folder}: no txn logs here")
        out.extend(os.path.join(folder, file.name) for file in found)
    return out


# Showing txns.


def acl_text(acl: ACL) -> str:
    """``world:anyone:cdrwa``."""
    letters = "".join(letter for letter, bit in _PERMS if acl.perms & bit)
    return f"{acl.id.scheme}:{acl.id.id}:{letters}"


def data_text(data: bytes, full: bool) -> str:
    """Data on one line: as text where it is text, in hex where it is not; cut unless ``full``."""
    shown = data if full else data[:_SHOWN_BYTES]
    rest = "" if len(shown) == len(data) else f"…({len(data)} bytes)"
    # A cut may fall into a character of up to four bytes.
    for less in range(4 if rest else 1):
        try:
            text = shown[: len(shown) - less].decode()
        except UnicodeDecodeError:
            continue
        return (json.dumps(text, ensure_ascii=False) if text.isprintable() else f"0x{shown.hex()}") + rest
    return f"0x{shown.hex()}{rest}"


def value_text(value: object, full: bool) -> str:
    """A field's value on one line."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return data_text(value, full)
    if isinstance(value, list):
        return "[" + ", ".join(acl_text(v) if isinstance(v, ACL) else str(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def value_json(value: object) -> Any:
    """The same for JSON; data in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [acl_text(v) if isinstance(v, ACL) else v for v in value]
    return value


def record_parts(kind: int, record: object) -> list[tuple[str, object]]:
    """(kind, record) of a txn, or of each part of a multi."""
    if isinstance(record, MultiTxn):
        return [
            (TXN_NAMES.get(part.type, str(part.type)), decode_part(part.type, part.data))
            for part in record.txns
        ]
    return [(TXN_NAMES.get(kind, str(kind)), record)]


def record_text(record: object, full: bool) -> str:
    """Fields as ``name=value``."""
    fields = FIELDS.get(type(record), ())
    return " ".join(f"{name}={value_text(getattr(record, attribute), full)}" for name, attribute in fields)


def time_text(time_ms: int) -> str:
    """UTC, to the millisecond."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def txn_text(txn: TxnEntry, full: bool = False) -> str:
    """One txn as a line of text."""
    header = txn.header
    pairs = record_parts(header.type, txn.record)
    parts = [f"{name} {record_text(record, full)}".rstrip() for name, record in pairs]
    body = parts[0] if not isinstance(txn.record, MultiTxn) else "multi " + "; ".join(parts)
    digest = "" if txn.digest is None else f" digest {txn.digest.version},{txn.digest.tree_digest}"
    return (
        f"{time_text(header.time)} session 0x{header.client_id & 0xFFFFFFFFFFFFFFFF:x} "
        f"cxid 0x{header.cxid & 0xFFFFFFFF:x} zxid 0x{header.zxid:x} {body}{digest}"
    )


def txn_json(txn: TxnEntry) -> str:
    """One txn as a JSON object."""
    header = txn.header
    out: dict[str, Any] = {
        "zxid": f"0x{header.zxid:x}",
        "session": f"0x{header.client_id & 0xFFFFFFFFFFFFFFFF:x}",
        "cxid": header.cxid,
        "time": header.time,
        "type": TXN_NAMES.get(header.type, str(header.type)),
    }
    parts = []
    for name, record in record_parts(header.type, txn.record):
        fields = {n: value_json(getattr(record, a)) for n, a in FIELDS.get(type(record), ())}
        parts.append({"type": name, **fields})
    if isinstance(txn.record, MultiTxn):
        out["txns"] = parts
    else:
        out.update(parts[0])
    if txn.digest is not None:
        out["digest"] = {"version": txn.digest.version, "treeDigest": txn.digest.tree_digest}
    return json.dumps(out, ensure_ascii=False)


# Commands.


def dump(options: argparse.Namespace) -> int:
    """Prints every txn of the files."""
    for path in log_paths(options.files):
        disk, name = split_path(path)
        reader = LogFileReader(disk, name)
        count = 0
        while reader.tail is None:
            for entry in reader.next_slice():
                if options.start <= entry.zxid and (options.end is None or entry.zxid <= options.end):
                    txn = decode_txn(entry.raw)
                    print(txn_json(txn) if options.json else txn_text(txn, options.full))
                    count += 1
        if not options.json:
            print(f"{path}: {count} txns shown")
        if reader.tail.verdict != fmt.CLEAN:
            raise Problem(f"{path}, byte {reader.end}: {reader.tail.reason}")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Checks each file to its end and says how it ends; 1 if any is damaged or txns are missing."""
    bad = 0
    previous = -1
    for path in log_paths(options.files):
        disk, name = split_path(path)
        problems, last = _verify_file(disk, name, previous)
        bad += len(problems)
        for problem in problems:
            print(f"{path}: {problem}")
        previous = last if last >= 0 else previous
    return 1 if bad else 0


def _verify_file(disk: OsDisk, name: str, previous: int) -> tuple[list[str], int]:
    reader = LogFileReader(disk, name)
    problems: list[str] = []
    first = -1
    count = 0
    while reader.tail is None:
        for entry in reader.next_slice():
            first = entry.zxid if first < 0 else first
            if previous >= 0 and entry.zxid > previous and not fmt.follows(entry.zxid, previous):
                gap = f"txns between 0x{previous:x} and 0x{entry.zxid:x} are missing"
                problems.append(f"byte {entry.offset}: {gap}")
            previous = max(previous, entry.zxid)
            count += 1
            try:
                decode_txn(entry.raw)
            except JuteError as error:
                problems.append(f"byte {entry.offset}: txn 0x{entry.zxid:x} cannot be read: {error}")
    for offset in reader.bad_ends:
        problems.append(f"byte {offset}: the end byte of a txn is wrong (its checksum is right)")
    padding = reader.size - reader.end
    if reader.tail.verdict == fmt.CLEAN:
        span = f"0x{first:x} to 0x{reader.last_zxid:x}" if count else "none"
        print(f"{name}: {count} txns, {span}, {reader.end} bytes and {padding} of padding")
    else:
        what = "torn tail" if reader.tail.verdict == fmt.TORN else "damaged"
        problems.append(f"byte {reader.end}: {what} after {count} txns: {reader.tail.reason}")
    return problems, reader.last_zxid


def repair(options: argparse.Namespace) -> int:
    """Writes a copy with recalculated checksums, as upstream's recovery mode; asks for each one."""
    disk, name = split_path(options.file)
    target = options.output or f"{options.file}.fixed"
    if os.path.exists(target):
        raise Problem(f"{target} exists already")
    fixed = 0
    kept: list[bytes] = []
    for offset, raw, good in raw_entries(disk, name):
        if not good:
            print(f"byte {offset}: checksum error: {_describe(raw)}")
            if not (options.yes or _asks("Recalculate it? [y/n] ")):
                raise Problem("stopped: a log with a wrong checksum in it cannot be used")
            fixed += 1
        kept.append(raw)
    _write_log(target, kept)
    print(f"{target}: {len(kept)} txns, {fixed} checksums recalculated")
    return 0


def raw_entries(disk: OsDisk, name: str) -> Iterator[tuple[int, bytes, bool]]:
    """(offset, txn, whether its checksum is right) of every entry that is there in full.

    Ends where a length is unreasonable or the file ends inside an entry.
    """
    size = disk.size(name)
    problem = fmt.file_header_problem(disk.read(name, 0, fmt.HEADER_BYTES))
    if problem:
        raise Problem(f"{name}: {problem}")
    offset = fmt.HEADER_BYTES
    while True:
        head = disk.read(name, offset, fmt.ENTRY_HEAD_BYTES)
        if len(head) < fmt.ENTRY_HEAD_BYTES:
            return
        length = int.from_bytes(head[8:], "big")
        if not fmt.MIN_TXN_BYTES <= length <= size - offset - fmt.ENTRY_OVERHEAD_BYTES:
            if any(head):
                print(f"byte {offset}: what follows is no entry, and is left out", file=sys.stderr)
            return
        raw = disk.read(name, offset + fmt.ENTRY_HEAD_BYTES, length)
        yield offset, raw, fmt.encode_entries([raw])[:8] == head[:8]
        offset += length + fmt.ENTRY_OVERHEAD_BYTES


def _describe(raw: bytes) -> str:
    try:
        return txn_text(decode_txn(raw))
    except JuteError as error:
        return f"0x{raw[:64].hex()}… ({error})"


def _asks(question: str) -> bool:
    try:
        return input(question).strip().lower().startswith("y")
    except EOFError:
        return False


def chop(options: argparse.Namespace) -> int:
    """Copies a log up to and including one zxid, as upstream's LogChopper."""
    disk, name = split_path(options.file)
    target = options.output or f"{options.file}.chopped"
    if os.path.exists(target):
        raise Problem(f"{target} exists already")
    kept: list[bytes] = []
    found = beyond = False
    reader = LogFileReader(disk, name)
    while reader.tail is None:
        for entry in reader.next_slice():
            if entry.zxid > options.zxid:
                beyond = True
                continue
            found = found or entry.zxid == options.zxid
            kept.append(entry.raw)
    if reader.tail.verdict == fmt.ROTTEN and not beyond:
        raise RottenLogError(options.file, reader.end, reader.tail.reason)
    if not found:
        raise Problem(f"{options.file} does not contain zxid 0x{options.zxid:x}")
    if not beyond:
        raise Problem(f"{options.file} ends at 0x{options.zxid:x}: nothing to chop")
    _write_log(target, kept)
    print(f"{target}: {len(kept)} txns, up to 0x{options.zxid:x}")
    return 0


def _write_log(path: str, txns: list[bytes]) -> None:
    folder, name = os.path.split(os.path.abspath(path))
    disk = OsDisk(folder)
    file = disk.create(name)
    try:
        file.write(fmt.encode_file_header() + fmt.encode_entries(txns))
        file.sync()
    finally:
        file.close()
    disk.sync_folder("")

"""``zabra watch``: prints the changes of a server, one a line, and follows them.

Reads the feed of an HTTP door, or the txn log in a server's folder, ours or Apache ZooKeeper's, also while
the server goes on writing it.  Nothing is locked or changed there.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, TextIO

from zabra.cli.feed_url import FeedError, FeedUrl, Row, credentials
from zabra.jute.primitives import JuteError
from zabra.plugins.changes import committed_txn
from zabra.plugins.feed import Compacted
from zabra.plugins.filters import OPS, Filter
from zabra.plugins.jsontext import data_of, hex_of, txn_of, txn_text
from zabra.plugins.log_history import LogHistory
from zabra.plugins.publisher import Change, CommittedTxn
from zabra.proto.txn import decode_txn
from zabra.runtime.os_disk import OsDisk
from zabra.storage.errors import StorageError
from zabra.storage.names import VERSION_FOLDER

POLL_S: Final = 0.1
READ_BYTES: Final = 1024 * 1024
NO_LIMIT: Final = (1 << 63) - 1
# Longer data is cut in text.
_SHOWN_BYTES: Final = 60
_COLOURS: Final = {"create": "32", "delete": "31", "setData": "33", "setACL": "35", "reconfig": "36"}
_QUIET: Final = "2"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``zabra watch``."""
    parser = subparsers.add_parser(
        "watch",
        help="print what changes, and follow it",
        description="Prints what changes, one change a line, and goes on.  From the HTTP door of a server "
        "(feed.port), over broken connections too; or from the txn log in a server's folder, which may be "
        "Apache ZooKeeper's.  What a voter has logged last may not be committed yet; an observer logs only "
        "what is.",
    )
    parser.add_argument("path", nargs="?", default="/", help="only changes at and below this path")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--url", help="the door of a feed, such as http://observer:8081")
    source.add_argument(
        "--data-dir", metavar="DIR", help="the server's dataLogDir (or dataDir, if it has none)"
    )
    parser.add_argument(
        "--auth", metavar="USER:PASSWORD", help="who asks a door, as by addauth digest; @FILE: from a file"
    )
    parser.add_argument(
        "--snapshot", action="store_true", help="from a door: print the nodes first, then what changes"
    )
    parser.add_argument(
        "--since",
        metavar="ZXID",
        help="begin after this zxid; 0: with the oldest there is; without: with what comes next",
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument(
        "--op",
        action="append",
        default=[],
        choices=OPS,
        help="only these changes; may be given more than once",
    )
    parser.add_argument("--no-follow", dest="follow", action="store_false", help="stop at the end")
    parser.add_argument("--color", choices=["auto", "always", "never"], default="auto")
    parser.set_defaults(run=run)


def parse_zxid(text: str) -> int:
    """Hexadecimal with 0x, or decimal.  Raises ValueError."""
    try:
        zxid = int(text, 0)
    except ValueError:
        raise ValueError(f"--since {text}: not a zxid (0x100000005, say)") from None
    if not 0 <= zxid <= NO_LIMIT:
        raise ValueError(f"--since {text}: not a zxid")
    return zxid


def run(arguments: argparse.Namespace) -> int:
    """Prints until interrupted."""
    try:
        wanted = Filter(arguments.path, arguments.op)
        since = None if arguments.since is None else parse_zxid(arguments.since)
        if arguments.url is None:
            follow_folder(arguments, wanted, since)
        else:
            follow_url(arguments, wanted, since)
    except Compacted as compacted:
        print(f"error: {compacted}; --since 0 begins there", file=sys.stderr)
        return 3
    except (ValueError, FeedError, StorageError, JuteError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read has gone; nothing more can be written, at exit neither.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def is_coloured(arguments: argparse.Namespace) -> bool:
    """Whether lines are painted: by default where people read them."""
    return arguments.color == "always" or (arguments.color == "auto" and sys.stdout.isatty())


def follow_folder(arguments: argparse.Namespace, wanted: Filter, since: int | None) -> None:
    """From a server's folder.  Raises Compacted, ValueError, StorageError, JuteError, OSError."""
    if arguments.snapshot or arguments.auth is not None:
        raise ValueError("--snapshot and --auth are for --url")
    disk = open_folder(arguments.data_dir)
    shown = json_line if arguments.format == "json" else text_lines(is_coloured(arguments))
    pause = (lambda: time.sleep(POLL_S)) if arguments.follow else None
    for txn in wanted_txns(wanted, read(disk, since, pause)):
        print_lines(shown(txn), sys.stdout)


def follow_url(arguments: argparse.Namespace, wanted: Filter, since: int | None) -> None:
    """From an HTTP door.  Raises Compacted, FeedError, OSError."""
    feed = FeedUrl(
        arguments.url,
        wanted.path,
        list(wanted.ops),
        since,
        arguments.snapshot,
        credentials(arguments.auth),
        lambda text: print(f"{arguments.url}: {text}", file=sys.stderr),
    )
    shown = row_lines(is_coloured(arguments))
    for row, text in feed.rows(arguments.follow):
        is_told = "bookmark" in row or "behind" in row
        if arguments.format == "json":
            if not is_told:
                print_lines([text], sys.stdout)
        elif not is_told:
            print_lines(shown(row), sys.stdout)


def open_folder(folder: str) -> OsDisk:
    """The folder, which has a ``version-2`` or is one.  Raises ValueError."""
    root = os.path.abspath(folder)
    if os.path.basename(root) == VERSION_FOLDER:
        root = os.path.dirname(root)
    if not os.path.isdir(os.path.join(root, VERSION_FOLDER)):
        raise ValueError(f"{folder} has no folder {VERSION_FOLDER}: it is no server's data")
    return OsDisk(root)


def read(disk: OsDisk, since: int | None, pause: Callable[[], object] | None) -> Iterator[CommittedTxn]:
    """The txns after ``since`` (None: after the last there is now); ``pause`` waits for more, None ends."""
    history = LogHistory(disk, disk, 0)
    if since is None:
        since = last_zxid(disk)
    while since == 0 and history.oldest() == 0 and pause is not None:
        pause()
    history = LogHistory(disk, disk, since or max(0, history.oldest() - 1))
    while True:
        found = history.read(NO_LIMIT, READ_BYTES)
        for raw in found:
            yield committed_txn(decode_txn(raw))
        if not found:
            if pause is None:
                return
            pause()


def last_zxid(disk: OsDisk) -> int:
    """The zxid of the last txn in the log; 0 for none."""
    history = LogHistory(disk, disk, 0)
    history = LogHistory(disk, disk, max(0, history.oldest() - 1))
    while history.read(NO_LIMIT, READ_BYTES):
        pass
    return history.after


def wanted_txns(wanted: Filter, txns: Iterator[CommittedTxn]) -> Iterator[CommittedTxn]:
    """Those with something that is wanted."""
    for txn in txns:
        yield from wanted.of([txn])


def print_lines(lines: list[str], out: TextIO) -> None:
    """At once: whoever reads a pipe wants it now."""
    out.write("".join([line + "\n" for line in lines]))
    out.flush()


def json_line(txn: CommittedTxn) -> list[str]:
    """One line for the txn."""
    return [txn_text(txn)]


def text_lines(colour: bool) -> Callable[[CommittedTxn], list[str]]:
    """A line for each change."""

    def lines(txn: CommittedTxn) -> list[str]:
        if not txn.changes:
            return [_painted(f"{_head(txn)}  {txn.op}", _QUIET, colour)]
        return [
            f"{_head(txn)}  {_painted(_change(change), _COLOURS.get(change.op, _QUIET), colour)}"
            for change in txn.changes
        ]

    return lines


def row_lines(colour: bool) -> Callable[[Row], list[str]]:
    """Lines for a row of a door: a txn's, or those of a snapshot."""
    of_txn = text_lines(colour)

    def lines(row: Row) -> list[str]:
        if "snapshot" in row:
            text = f"{'':23}  {row['snapshot']}  snapshot  {ascii_path(row['path'])}"
            return [_painted(text, _QUIET, colour)]
        if "snapshotEnd" in row:
            text = f"{'':23}  {row['snapshotEnd']}  {row['nodes']} nodes"
            return [_painted(text, _QUIET, colour)]
        if "node" in row:
            node = row["node"]
            owner = f"  owner {node['owner']}" if "owner" in node else ""
            words = f"{'node':13}  {ascii_path(node['path'])}  {data_text(data_of(node))}"
            return [f"{'':23}  {node['mzxid']}  {words}  version {node['version']}{owner}"]
        return of_txn(txn_of(row))

    return lines


def _head(txn: CommittedTxn) -> str:
    when = datetime.fromtimestamp(txn.time_ms / 1000, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{txn.time_ms % 1000:03}  {hex_of(txn.zxid)}"


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _change(change: Change) -> str:
    words = [f"{change.op:13}"]
    if change.path:
        words.append(ascii_path(change.path))
    elif change.owner:
        words.append(hex_of(change.owner))
    if change.op in ("create", "setData", "reconfig"):
        words.append(data_text(change.data))
    if change.op in ("setData", "setACL", "reconfig"):
        words.append(f"version {change.version}")
    if change.op == "create" and change.owner:
        words.append(f"owner {hex_of(change.owner)}")
    return "  ".join(words)


def ascii_path(path: str) -> str:
    """The path without what a terminal might obey."""
    return "".join([char if char.isprintable() else f"\\u{ord(char):04x}" for char in path])


def data_text(data: bytes | None) -> str:
    """Data for people: text where it is some, cut where it is long."""
    if data is None:
        return "null"
    shown = data[:_SHOWN_BYTES]
    text = repr(shown.decode("utf-8", "backslashreplace"))
    return text if len(data) <= _SHOWN_BYTES else f"{text}… {len(data)} bytes"

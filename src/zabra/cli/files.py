"""``zabra txnlog`` and ``zabra snapshot``: the command lines of the tools for files."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Final

from zabra.cli import snapshot_files, txnlog_files
from zabra.cli.txnlog_files import Problem, parse_zxid
from zabra.storage.errors import StorageError

Command = Callable[[argparse.Namespace], int]

EXIT_PROBLEM: Final = 1
LOG_HELP: Final = "a log file, or a data folder for all its logs"
SNAPSHOT_HELP: Final = "a snapshot file, plain, .gz or .snappy"


def guarded(command: Command) -> Command:
    """Turns what is wrong with files into one line on stderr and exit code 1."""

    def run(options: argparse.Namespace) -> int:
        try:
            return command(options)
        except BrokenPipeError:
            # Somebody looked at the first lines only (| head).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_PROBLEM
        except (Problem, StorageError, OSError) as error:
            sys.stdout.flush()
            print(f"error: {error}", file=sys.stderr)
            return EXIT_PROBLEM

    return run


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``zabra txnlog`` and ``zabra snapshot``."""
    _register_txnlog(subparsers)
    _register_snapshot(subparsers)


def _register_txnlog(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("txnlog", help="show, check, repair and cut txn log files")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    dump = verbs.add_parser("dump", help="print every txn")
    dump.add_argument("files", nargs="+", metavar="FILE", help=LOG_HELP)
    dump.add_argument("--json", action="store_true", help="one JSON object per line, data in base64")
    dump.add_argument("--full", action="store_true", help="do not cut long data")
    dump.add_argument("--from", dest="start", type=parse_zxid, default=0, metavar="ZXID", help="first zxid")
    dump.add_argument("--to", dest="end", type=parse_zxid, metavar="ZXID", help="last zxid")
    dump.set_defaults(run=guarded(txnlog_files.dump))

    verify = verbs.add_parser("verify", help="check every byte, and that no txn is missing")
    verify.add_argument("files", nargs="+", metavar="FILE", help=LOG_HELP)
    verify.set_defaults(run=guarded(txnlog_files.verify))

    repair = verbs.add_parser(
        "repair", help="write a copy with recalculated checksums, less what is no entry at the end"
    )
    repair.add_argument("file", metavar="FILE", help="a log file")
    repair.add_argument("--output", metavar="FILE", help="where to write (default: FILE.fixed)")
    repair.add_argument("-y", "--yes", action="store_true", help="recalculate every checksum without asking")
    repair.set_defaults(run=guarded(txnlog_files.repair))

    chop = verbs.add_parser("chop", help="write a copy that ends with a zxid")
    chop.add_argument("file", metavar="FILE", help="a log file")
    chop.add_argument("zxid", type=parse_zxid, metavar="ZXID", help="the last zxid to keep: 0x10000002a")
    chop.add_argument("--output", metavar="FILE", help="where to write (default: FILE.chopped)")
    chop.set_defaults(run=guarded(txnlog_files.chop))


def _register_snapshot(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("snapshot", help="show, check, compare and sum up snapshot files")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    dump = verbs.add_parser("dump", help="print every node and session")
    dump.add_argument("file", metavar="FILE", help=SNAPSHOT_HELP)
    dump.add_argument("-d", "--data", action="store_true", help="with the data, in base64")
    dump.add_argument("--json", action="store_true", help="as JSON, in the form that ncdu reads")
    dump.set_defaults(run=guarded(snapshot_files.dump))

    verify = verbs.add_parser("verify", help="check seals, tree and digest")
    verify.add_argument("files", nargs="+", metavar="FILE", help=f"{SNAPSHOT_HELP}, or a data folder")
    verify.set_defaults(run=guarded(snapshot_files.verify))

    compare = verbs.add_parser("compare", help="what one snapshot has and another has not")
    compare.add_argument("left", metavar="LEFT", help=SNAPSHOT_HELP)
    compare.add_argument("right", metavar="RIGHT", help=SNAPSHOT_HELP)
    compare.add_argument("--bytes", type=int, default=0, metavar="N", help="only differences of more bytes")
    compare.add_argument("--nodes", type=int, default=0, metavar="N", help="or of more nodes")
    compare.add_argument("--depth", type=int, metavar="N", help="only this depth; the root has 0")
    compare.add_argument("--path", metavar="PATH", help="only the children of this node")
    compare.set_defaults(run=guarded(snapshot_files.compare))

    summary = verbs.add_parser("summary", help="nodes and bytes below a node, level by level")
    summary.add_argument("file", metavar="FILE", help=SNAPSHOT_HELP)
    summary.add_argument("path", nargs="?", default="/", metavar="PATH", help="where to begin (default: /)")
    summary.add_argument("--depth", type=int, default=0, metavar="N", help="levels to show (default: all)")
    summary.set_defaults(run=guarded(snapshot_files.summary))

"""``zabra mirror``: what people who have two ensembles want to know of a mirror between them.

The mirror itself is a publisher (docs/mirror.md).  These commands speak to both sides as any client does; all
but ``cutover --raise-sequences`` only read.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from zabra.client import calls
from zabra.client.aio import parse_connect_string
from zabra.plugins.filters import Filter
from zabra.plugins.jsontext import hex_of
from zabra.plugins.mirror_check import Comparison, Counter, Side, compare, counters_behind, raise_counter
from zabra.plugins.mirror_plan import COPY, CURSOR_FOLDER, OPEN, PERSISTENT, SKIP, Choices, Cursor
from zabra.plugins.mirror_session import ClientSession, Session, connect, tls_context
from zabra.proto import codes
from zabra.proto.errors import KeeperError

EXIT_SAME: Final = 0
EXIT_ERROR: Final = 1
EXIT_DIFFERENT: Final = 3

_EXAMPLE = "zk1:2181,zk2:2181/path"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``zabra mirror``."""
    parser = subparsers.add_parser(
        "mirror",
        help="compare two ensembles, and move from one to the other",
        description="For a subtree that is mirrored to another ensemble (publisher.<name>.class=zookeeper), "
        "or was copied in any other way: is it the same on both sides, and may the clients move?",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="compare the two sides, and tell where they differ",
        description="Compares two subtrees by their hashes, and tells the nodes that differ: also what a "
        f"mirror would change.  Exit code {EXIT_SAME}: the same; {EXIT_DIFFERENT}: not.",
    )
    check.set_defaults(run=lambda arguments: _run(_check, arguments))
    cutover = commands.add_parser(
        "cutover",
        help="tell whether clients may move to the target",
        description="A report for the moment of the move: the hashes, who still writes or holds ephemeral "
        f"nodes at the source, and the counters of sequential nodes.  Exit code {EXIT_SAME}: ready; "
        f"{EXIT_DIFFERENT}: not yet.",
    )
    cutover.add_argument(
        "--raise-sequences",
        action="store_true",
        help="raise counters of the target that are behind, so that new sequential nodes come after old ones",
    )
    cutover.set_defaults(run=lambda arguments: _run(_cutover, arguments))
    for one in (check, cutover):
        one.add_argument("source", help=f"servers and path: {_EXAMPLE}")
        one.add_argument("target", help="servers and path of the other side")
        one.add_argument("--source-auth", default="", metavar="SCHEME:ID", help="digest:user:password, say")
        one.add_argument("--ephemerals", choices=[SKIP, PERSISTENT], default=SKIP, help="as the mirror does")
        one.add_argument("--acls", choices=[COPY, OPEN], default=COPY, help="as the mirror does")
        one.add_argument(
            "--settle",
            type=float,
            default=5.0,
            metavar="SECONDS",
            help="what differs only because the mirror is a little behind may take so long (default 5)",
        )
        one.add_argument("--limit", type=int, default=20, help="differences to show (default 20; 0: all)")
    status = commands.add_parser(
        "status", help="list the mirrors that write to an ensemble", description="Lists mirrors' cursors."
    )
    status.add_argument("target", help="its servers: zk1:2181,zk2:2181")
    status.set_defaults(run=lambda arguments: _run(_status, arguments))
    for one in (check, cutover, status):
        one.add_argument("--target-auth", default="", metavar="SCHEME:ID", help="digest:super:secret, say")
        one.add_argument("--format", choices=["text", "json"], default="text")
        one.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for each request")
        one.add_argument("--ca-file", default="", help="use TLS, and trust these")
        one.add_argument("--cert-file", default="", help="certificate to show, with its key")


def _run(command: Callable[[argparse.Namespace], Awaitable[int]], arguments: argparse.Namespace) -> int:
    async def main() -> int:
        return await command(arguments)

    try:
        return asyncio.run(main())
    except (KeeperError, ValueError, OSError) as error:
        print(f"error: {_explained(error)}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_ERROR


def _explained(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in time{f': {error}' if str(error) else ''}"
    if isinstance(error, KeeperError) and error.code == codes.ERR_NO_AUTH:
        return f"{error}: give credentials that may read it (--source-auth, --target-auth)"
    return str(error)


async def _open(stack: AsyncExitStack, text: str, auth: str, arguments: argparse.Namespace) -> ClientSession:
    """A session with the servers in ``text``; ended with ``stack``."""
    hosts = text.partition("/")[0]
    parse_connect_string(hosts)
    tls = tls_context(arguments.ca_file, arguments.cert_file, "")
    try:
        session = await connect(hosts, auth, int(arguments.timeout * 1000), tls)
    except TimeoutError:
        raise TimeoutError(f"cannot connect to {hosts}") from None
    stack.push_async_callback(session.close)
    return session


def path_of(text: str) -> str:
    """The path behind the servers; "/" where there is none.  Raises ValueError."""
    path = "/" + text.partition("/")[2].rstrip("/")
    Filter(path)
    return path


async def _sides(stack: AsyncExitStack, arguments: argparse.Namespace) -> tuple[Side, Side]:
    tops = path_of(arguments.source), path_of(arguments.target)
    choices = Choices(*tops, arguments.ephemerals, arguments.acls)
    source = await _open(stack, arguments.source, arguments.source_auth, arguments)
    target = await _open(stack, arguments.target, arguments.target_auth, arguments)
    return Side(source, tops[0], choices, True), Side(target, tops[1], choices, False)


async def _check(arguments: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        source, target = await _sides(stack, arguments)
        compared = await compare(source, target, arguments.settle)
        _print(report(source, target, compared), arguments)
    return EXIT_DIFFERENT if compared.differences else EXIT_SAME


def report(source: Side, target: Side, compared: Comparison) -> dict[str, Any]:
    """What a comparison found."""
    return {
        "source": {"path": source.top, "nodes": len(compared.source.nodes), "hash": compared.source.hash},
        "target": {"path": target.top, "nodes": len(compared.target.nodes), "hash": compared.target.hash},
        "differences": [
            {"path": one.path, "what": one.what, "nodes": one.nodes} for one in compared.differences
        ],
    }


async def _cutover(arguments: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        source, target = await _sides(stack, arguments)
        compared = await compare(source, target, arguments.settle)
        out = report(source, target, compared)
        behind = counters_behind(compared)
        if arguments.raise_sequences and not compared.differences:
            for counter in behind:
                await raise_counter(target, counter)
            out["raised"], behind = [_counter(one) for one in behind], []
        out["counters"] = [_counter(one) for one in behind]
        newest = (await source.read()).newest
        out["writtenMeanwhile"] = newest != compared.source.newest
        sessions: dict[str, int] = {}
        for owner in compared.source.ephemerals.values():
            sessions[hex_of(owner)] = sessions.get(hex_of(owner), 0) + 1
        out["sessions"] = sessions
        out["ready"] = not (compared.differences or behind or out["writtenMeanwhile"] or sessions)
        _print(out, arguments)
    return EXIT_SAME if out["ready"] else EXIT_DIFFERENT


def _counter(counter: Counter) -> dict[str, Any]:
    return {"path": counter.path, "source": counter.source, "target": counter.target}


async def _status(arguments: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        session = await _open(stack, arguments.target, arguments.target_auth, arguments)
        rows = [await _mirror(session, name) for name in await _children(session, CURSOR_FOLDER)]
    if arguments.format == "json":
        print(json.dumps(rows))
        return EXIT_SAME
    if not rows:
        print("no mirrors")
    for row in rows:
        print(f"{row['name']}  {row['state']}  {row['zxid']}  {row['ageSeconds']} s ago  {row['choices']}")
    return EXIT_SAME


async def _children(session: Session, path: str) -> list[str]:
    try:
        names = await session.call(calls.get_children(path))
    except KeeperError as error:
        if error.code == codes.ERR_NO_NODE:
            return []
        raise
    return sorted(names)


async def _mirror(session: Session, name: str) -> dict[str, Any]:
    data, stat = await session.call(calls.get_data(f"{CURSOR_FOLDER}/{name}"))
    cursor = Cursor.decode(data)
    return {
        "name": name,
        "state": "copying" if cursor.is_copying else "mirroring",
        "zxid": hex_of(cursor.zxid),
        "ageSeconds": max(0, round(time.time() - int(stat.mtime) / 1000)),
        "choices": cursor.choices,
    }


def _print(out: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.format == "json":
        print(json.dumps(out))
        return
    for side in ("source", "target"):
        one = out[side]
        print(f"{side}  {one['path']}  {one['nodes']} nodes  {one['hash'] or 'nothing there'}")
    found = out["differences"]
    print("the same" if not found else f"{len(found)} differences:")
    shown = found[: arguments.limit] if arguments.limit else found
    for row in shown:
        more = f" ({row['nodes']} nodes)" if row["nodes"] > 1 else ""
        print(f"  {row['path']}  {row['what']}{more}")
    if len(shown) < len(found):
        print(f"  … and {len(found) - len(shown)} more (--limit 0 shows all)")
    if "ready" in out:
        _print_cutover(out)


def _print_cutover(out: dict[str, Any]) -> None:
    for row in out.get("raised", []):
        print(f"raised the counter of {row['path']} from {row['target']} to {row['source']}")
    for row in out["counters"]:
        print(
            f"  {row['path']}: the next sequential node is number {row['source']} at the source, "
            f"{row['target']} at the target (--raise-sequences)"
        )
    if out["writtenMeanwhile"]:
        print("the source is still being written")
    for session, count in out["sessions"].items():
        print(f"session {session} still holds {count} ephemeral nodes at the source")
    print("ready: clients may move" if out["ready"] else "not ready")

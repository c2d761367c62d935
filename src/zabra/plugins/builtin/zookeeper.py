"""``zookeeper``: keeps a subtree of any ZooKeeper-compatible ensemble like a subtree of this one.

Every multi that changes the target also moves the cursor node there, and only if nobody else has: each txn is
there exactly once, whatever crashes, and a mirror that was given up for dead cannot go on beside its
successor.  docs/mirror.md says what is mirrored, and as what.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zabra.client import calls
from zabra.client.calls import Part, check_part, part_of
from zabra.plugins.filters import Filter
from zabra.plugins.mirror_check import Side, Subtree, differences, subtree_of
from zabra.plugins.mirror_copy import Copy
from zabra.plugins.mirror_plan import (
    COPY,
    CURSOR_FOLDER,
    OPEN,
    PERSISTENT,
    SKIP,
    Bundle,
    Choices,
    Cursor,
    Step,
    Translator,
    bundles,
    is_reserved,
    is_session,
)
from zabra.plugins.mirror_session import PartError, Session, connect, multi, tls_context
from zabra.plugins.publisher import WANTS_SNAPSHOT, CommittedTxn, PublisherContext, Snap
from zabra.plugins.tree_snapshots import is_below
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL

log = logging.getLogger("zabra.publishers.zookeeper")

STOP: Final = "stop"
REPAIR: Final = "repair"
# Requests in one multi at most.
_MAX_PARTS: Final = 5000
# How often it is looked whether a comparison is due that no txn has brought about.
_LOOK_S: Final = 0.5
_EXAMPLES: Final = 5
# Tries to make the cursor ours while a predecessor's last multi arrives.
_TRIES: Final = 5

OpenSession = Callable[["ZooKeeperPublisher.Options"], Awaitable[Session]]


TakeSnapshot = Callable[[], Awaitable[Snap]]


class DivergedError(Exception):
    """The target is not what the mirror has made it: somebody else has written there."""


@dataclass(frozen=True, slots=True)
class Due:
    """What the target is to be like when it is as of ``zxid``."""

    zxid: int
    subtree: "asyncio.Task[Subtree]"

    @staticmethod
    async def of(snap: Snap, choices: Choices) -> "Due":
        """Hashes it in a thread."""
        nodes = [node async for node in snap.nodes]
        return Due(snap.zxid, asyncio.create_task(asyncio.to_thread(subtree_of, nodes, choices)))


class ZooKeeperPublisher:
    """See the module."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Options of ``publisher.<name>.…``.

        Attributes:
            connect: the target's servers, "host:port,host:port".
            target: the path there; empty: the same as here.
            auth: "scheme:credentials", "digest:super:secret" say.
            auth_file: a file with that in it.
            ephemerals: "skip", or "persistent" to make ordinary nodes of them.
            acls: "copy", or "open".
            on_divergence: "stop", or "repair" to make the target like the source again.
            check_every_ms: how often the whole target is compared with the source; 0: never.
            overwrite: begin although the target has nodes that no mirror has made; they go.
            dry_run: only say what would be done.
            cursor: the cursor's node; empty: /zabra-mirrors/<name>.
            max_bytes: the size of a multi, below the target's jute.maxbuffer.
            timeout_ms: of the session, and of each request.
            ca_file, cert_file, key_file: for TLS.
        """

        connect: str
        target: str = ""
        auth: str = ""
        auth_file: str = ""
        ephemerals: str = SKIP
        acls: str = COPY
        on_divergence: str = STOP
        check_every_ms: int = 0
        overwrite: bool = False
        dry_run: bool = False
        cursor: str = ""
        max_bytes: int = 1_000_000
        timeout_ms: int = 30_000
        ca_file: str = ""
        cert_file: str = ""
        key_file: str = ""

        def __post_init__(self) -> None:
            for name, value, allowed in (
                ("ephemerals", self.ephemerals, (SKIP, PERSISTENT)),
                ("acls", self.acls, (COPY, OPEN)),
                ("onDivergence", self.on_divergence, (STOP, REPAIR)),
            ):
                if value not in allowed:
                    raise ValueError(f"{name} is {value!r}, must be {' or '.join(allowed)}")
            for path in (self.target, self.cursor):
                if path:
                    Filter(path)
            if self.target and is_reserved(self.target):
                raise ValueError(f"target {self.target} is not for mirrors")
            if self.cursor and not is_reserved(self.cursor) and is_below(self.cursor, self.target or "/"):
                raise ValueError(f"cursor {self.cursor} is inside the target")
            if self.max_bytes < 10_000 or self.timeout_ms < 100:
                raise ValueError("maxBytes must be at least 10000, timeoutMs at least 100")
            if self.check_every_ms and self.check_every_ms < 100:
                raise ValueError(f"checkEveryMs is {self.check_every_ms}, must be 0 or at least 100")

    def __init__(
        self, options: "ZooKeeperPublisher.Options", open_session: OpenSession | None = None
    ) -> None:
        self._options = options
        self._open_session = open_session or _connect
        self._session: Session | None = None
        self._translator = Translator(Choices("/", "/"))
        self._cursor_path = ""
        self._cursor = Cursor(0, "")
        self._version = 0
        # Whoever writes to the target holds it, and whoever compares.
        self._turn = asyncio.Lock()
        self._due: Due | None = None
        self._checking: asyncio.Task[None] | None = None
        self._snapshot: TakeSnapshot | None = None
        self._checks = 0
        self._differences = -1

    def figures(self) -> Mapping[str, int]:
        """Of its checks."""
        if not self._options.check_every_ms:
            return {}
        return {"mirror_checks": self._checks, "mirror_differences": self._differences}

    async def open(self, context: PublisherContext) -> int | None:
        """Makes the cursor ours; returns its zxid, or WANTS_SNAPSHOT where the target is nothing yet."""
        options = self._options
        choices = Choices(context.path, options.target or context.path, options.ephemerals, options.acls)
        self._translator = Translator(choices)
        self._cursor_path = options.cursor or f"{CURSOR_FOLDER}/{context.name}"
        self._session = await self._open_session(options)
        if options.dry_run:
            return WANTS_SNAPSHOT
        found = await self._take_cursor(choices)
        self._cursor = found
        if options.check_every_ms and context.snapshot is not None:
            self._snapshot = context.snapshot
            self._checking = asyncio.create_task(self._keep_checking(context.reached))
        if found.is_copying:
            return WANTS_SNAPSHOT
        return found.zxid

    @property
    def session(self) -> Session:
        """To the target, while open."""
        assert self._session is not None
        return self._session

    async def _take_cursor(self, choices: Choices) -> Cursor:
        """Reads the cursor, and writes it: whatever a predecessor still has under way then fails."""
        nothing = Cursor(0, choices.text(), is_copying=True)
        for _ in range(_TRIES):
            try:
                await self.session.call(calls.sync(self._cursor_path))
                data, stat = await self.session.call(calls.get_data(self._cursor_path))
            except KeeperError as error:
                if error.code != codes.ERR_NO_NODE:
                    raise
                await self._refuse_strangers(choices)
                await make_parents(self.session, self._cursor_path, self._own_acl())
                await _unless_there(self.session, self._cursor_path, nothing.encode(), self._own_acl())
                continue
            found = Cursor.decode(data)
            if found.choices != choices.text():
                log.warning("mirrored so far: %s; now: %s: copying anew", found.choices, choices.text())
                found = nothing
            try:
                stat = await self.session.call(
                    calls.set_data(self._cursor_path, found.encode(), int(stat.version))
                )
            except KeeperError as error:
                if error.code != codes.ERR_BAD_VERSION:
                    raise
                continue
            self._version = int(stat.version)
            return found
        raise DivergedError(f"another mirror keeps writing {self._cursor_path}")

    def _own_acl(self) -> list[ACL]:
        """Of the cursor: ours alone, where we are somebody."""
        has_auth = self._options.auth or self._options.auth_file
        return calls.CREATOR_ACL if has_auth and not self._is_super() else calls.OPEN_ACL

    def _is_super(self) -> bool:
        """A super user has no identity that could own a node on every server."""
        return read_auth(self._options).startswith("digest:super:")

    async def _refuse_strangers(self, choices: Choices) -> None:
        """Raises DivergedError where the target has nodes, and no mirror has ever been there."""
        if self._options.overwrite:
            return
        try:
            names = await self.session.call(calls.get_children(choices.target))
        except KeeperError as error:
            if error.code == codes.ERR_NO_NODE:
                return
            raise
        below = "" if choices.target == "/" else choices.target
        strangers = sorted(name for name in names if not is_reserved(f"{below}/{name}"))
        if strangers:
            raise DivergedError(
                f"the target's {choices.target} has {len(strangers)} nodes that no mirror has made "
                f"({strangers[0]} first): overwrite=true replaces them"
            )

    async def snap(self, snap: Snap) -> None:
        """Makes the target like the snapshot, whatever it was."""
        async with self._turn:
            await self._copy(snap)

    async def _copy(self, snap: Snap) -> None:
        # What was to be compared is not there any more.
        self._due = None
        choices = self._translator.choices
        if not self._options.dry_run:
            await self._move_cursor(Cursor(0, choices.text(), is_copying=True), [])
            await make_parents(self.session, choices.target, calls.OPEN_ACL)
        fence = check_part(self._cursor_path, self._version)
        copy = Copy(self.session, choices, fence, self._options.max_bytes, self._options.dry_run)
        self._translator.ephemerals = {}
        async for node in snap.nodes:
            if is_session(node.owner):
                self._translator.ephemerals[node.path] = node.owner
            await copy.add(node)
        done = await copy.finish()
        log.info("%s: %s", "dry run, would be" if self._options.dry_run else "copied", done.text())
        if not self._options.dry_run:
            await self._move_cursor(Cursor(snap.zxid, choices.text()), [])

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """The changes and the cursor, in as few multis as will do; halts where a comparison is due."""
        async with self._turn:
            due = self._due
            if due is not None and txns[-1].zxid >= due.zxid:
                await self._inform([txn for txn in txns if txn.zxid <= due.zxid])
                await self._check(due)
            # (A repair may have been ahead of them.)
            await self._inform([txn for txn in txns if txn.zxid > self._cursor.zxid])
        return txns[-1].zxid

    async def _inform(self, txns: Sequence[CommittedTxn]) -> None:
        if not txns:
            return
        options, choices = self._options, self._translator.choices.text()
        steps = [(txn.zxid, self._translator.steps(txn)) for txn in txns]
        if options.dry_run:
            log.info(
                "dry run, would be %d requests for %d txns", sum(len(one[1]) for one in steps), len(txns)
            )
            return
        for bundle in bundles(steps, choices, self._cursor, options.max_bytes, _MAX_PARTS):
            await self._apply(bundle)

    # --- comparing ----------------------------------------------------------------------------------------

    async def _keep_checking(self, reached: Callable[[], int]) -> None:
        """Now and then a snapshot of the source; the target is compared with it once it is as far."""
        snapshot = self._snapshot
        assert snapshot is not None
        while True:
            await asyncio.sleep(self._options.check_every_ms / 1000)
            async with self._turn:
                # While nothing is written, so that the target is not past it already.
                if self._cursor.is_copying:
                    continue
                self._due = await Due.of(await snapshot(), self._translator.choices)
            due = self._due
            while due is self._due:
                await asyncio.sleep(_LOOK_S)
                # Where nothing comes that is wanted, no ``inform`` does it.
                if reached() >= due.zxid:
                    await self._check_in_turn()

    async def _check_in_turn(self) -> None:
        async with self._turn:
            try:
                if self._due is not None:
                    await self._check(self._due)
            except (KeeperError, OSError, TimeoutError, DivergedError) as error:
                # A txn that comes will fail too, and have the mirror opened anew.
                log.warning("%s could not be repaired: %s", self._translator.choices.target, error)

    async def _check(self, due: "Due") -> None:
        """The target is as of ``due.zxid``: it is like the source was then, or somebody else has written."""
        self._due = None
        choices = self._translator.choices
        try:
            here = await due.subtree
            there = await Side(self.session, choices.target, choices, False).read()
        except (KeeperError, OSError, TimeoutError) as error:
            log.warning("%s could not be compared: %s", choices.target, error)
            return
        found = list(differences(here, there))
        self._checks += 1
        self._differences = len(found)
        if not found:
            log.info(
                "%s is the same as of 0x%x: %d nodes, hash %s",
                choices.target,
                due.zxid,
                len(here.nodes),
                here.hash,
            )
            return
        examples = ", ".join([f"{one.path}: {one.what}" for one in found[:_EXAMPLES]])
        log.error("%s differs as of 0x%x in %d places: %s", choices.target, due.zxid, len(found), examples)
        if self._options.on_divergence == REPAIR and self._snapshot is not None:
            await self._copy(await self._snapshot())

    async def _apply(self, bundle: Bundle) -> None:
        steps = bundle.steps
        try:
            if len(steps) == 1 and steps[0].acl is not None:
                await self._set_acl(steps[0], list(steps[0].acl))
                steps = []
            elif len(steps) == 1 and bundle.size + steps[0].size > self._options.max_bytes:
                await self._alone(steps[0])
                steps = []
            await self._move_cursor(bundle.cursor, steps)
        except KeeperError as error:
            if error.code in _DIVERGED:
                await self._diverged(error)
            if error.code in (codes.ERR_NO_AUTH, codes.ERR_INVALID_ACL):
                raise PermissionError(f"{error}: {_RIGHTS}") from error
            raise

    async def _move_cursor(self, cursor: Cursor, steps: list[Step]) -> None:
        """The steps and the cursor, in one multi.  What an ephemeral would be needed for is left out."""
        steps = list(steps)
        moves = part_of(calls.set_data(self._cursor_path, cursor.encode(), self._version))
        while True:
            try:
                await multi(self.session, [*[step.part for step in steps], moves])
            except PartError as error:
                if error.index == len(steps):
                    raise DivergedError(f"another mirror has taken {self._cursor_path}: {error}") from error
                if not await self._was_left_out(steps[error.index].part, error):
                    raise
                del steps[error.index]
                continue
            self._version += 1
            self._cursor = cursor
            return

    async def _was_left_out(self, part: Part, error: PartError) -> bool:
        """Whether the node was never made here: an ephemeral from before this mirror's last start.

        Whether something may be deleted is asked before whether it is there.
        """
        if error.code not in (codes.ERR_NO_NODE, codes.ERR_NO_AUTH) or part.op == codes.OP_CREATE:
            return False
        if self._translator.choices.ephemerals != SKIP:
            return False
        try:
            await self.session.call(calls.exists(part.path))
        except KeeperError as missing:
            if missing.code != codes.ERR_NO_NODE:
                raise
        else:
            return False
        log.info("%s is not there: an ephemeral node, or somebody has removed it", part.path)
        return True

    async def _set_acl(self, step: Step, acl: list[ACL]) -> None:
        """Once more does no harm; and only if nobody else changes it, a predecessor say."""
        try:
            _, stat = await self.session.call(calls.get_acl(step.path))
            await self.session.call(calls.set_acl(step.path, acl, int(stat.aversion)))
        except KeeperError as error:
            lost = PartError(error.code, step.path, 0)
            if error.code != codes.ERR_NO_NODE or not await self._was_left_out(step.part, lost):
                raise

    async def _alone(self, step: Step) -> None:
        """What fits into no multi; it may be there already."""
        request: calls.Call[object] = calls.Call(step.part.op, step.path, step.part.body, lambda reader: None)
        try:
            await self.session.call(request)
        except KeeperError as error:
            if error.code != codes.ERR_NODE_EXISTS:
                raise
            await self.session.call(calls.delete(step.path))
            await self.session.call(request)

    async def _diverged(self, error: KeeperError) -> None:
        where = self._translator.choices.source_path(error.path)
        text = f"{error}: the target is not like {where} any more; `zabra mirror check` finds out where"
        if self._options.on_divergence == REPAIR:
            await self._move_cursor(Cursor(0, self._translator.choices.text(), is_copying=True), [])
            raise DivergedError(f"{text}; copying anew") from error
        raise DivergedError(f"{text}; onDivergence=repair makes it so again") from error

    async def close(self) -> None:
        """Ends the session."""
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()


_RIGHTS: Final = "a mirror that copies ACLs needs a super user at the target (auth), or acls=open"
_DIVERGED: Final = (
    codes.ERR_NODE_EXISTS,
    codes.ERR_NO_NODE,
    codes.ERR_NOT_EMPTY,
    codes.ERR_NO_CHILDREN_FOR_EPHEMERALS,
)


def read_auth(options: ZooKeeperPublisher.Options) -> str:
    """The credentials, from wherever they are.  Raises OSError."""
    if options.auth_file:
        with open(options.auth_file, encoding="utf-8") as file:
            return file.read().strip()
    return options.auth


async def _connect(options: ZooKeeperPublisher.Options) -> Session:
    tls = tls_context(options.ca_file, options.cert_file, options.key_file)
    return await connect(options.connect, read_auth(options), options.timeout_ms, tls)


async def make_parents(session: Session, path: str, acl: list[ACL]) -> None:
    """Makes what is above ``path``, where it is not there."""
    parts = path.split("/")[1:-1]
    for count in range(1, len(parts) + 1):
        await _unless_there(session, "/" + "/".join(parts[:count]), b"", acl)


async def _unless_there(session: Session, path: str, data: bytes, acl: list[ACL]) -> None:
    try:
        await session.call(calls.create(path, data, acl))
    except KeeperError as error:
        if error.code != codes.ERR_NODE_EXISTS:
            raise

"""AsyncEnsemble: real servers on the running loop, in a temporary folder, and what may be done to them."""

import asyncio
import functools
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

from zabra.cli.config import read_file
from zabra.cli.plan import plan_of
from zabra.cli.words import words_of
from zabra.client.aio import AsyncClient
from zabra.config.load import load_config
from zabra.plugins.attach import AttachedPublishers, open_door
from zabra.runtime.assembly import RunningServer, start
from zabra.runtime.joining import join
from zabra.server.roles.proposing import Proposing
from zabra.testing.doors import DoorNode, Doors, UnsyncedDisk
from zabra.testing.ports import HOST, give_back, take_ports

log = logging.getLogger("zabra")

# Short ticks, so that sessions and failures end soon; limits long enough for a machine that is busy.
FAST: Final[dict[str, str]] = {
    "tickTime": "200",
    "initLimit": "50",
    "syncLimit": "25",
    "minSessionTimeout": "100",
    "maxSessionTimeout": "60000",
    "maxClientCnxns": "0",
    "4lw.commands.whitelist": "*",
    "admin.enableServer": "false",
    "preAllocSize": "64",
}
READY_WITHIN_S: Final = 30.0
PORTS_EACH: Final = 4


class Member:
    """One server: ``sid``, its folder and ports; ``running`` while it does."""

    def __init__(self, sid: int, is_observer: bool, folder: Path, ports: list[int]) -> None:
        self.sid = sid
        self.is_observer = is_observer
        self.folder = folder
        self.client_port, self.quorum_port, self.election_port, self.master_port = ports
        # In nobody's configuration: it joins (``zabra.join``).
        self.is_listed = True
        self.running: RunningServer | None = None
        self.publishers: AttachedPublishers | None = None

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{HOST}:{self.client_port}"

    @property
    def line(self) -> str:
        """``server.N=…``, as in a configuration file and for a reconfiguration."""
        role = "observer" if self.is_observer else "participant"
        place = f"{HOST}:{self.quorum_port}:{self.election_port}"
        return f"server.{self.sid}={place}:{role};{HOST}:{self.client_port}"

    @property
    def mode(self) -> str:
        """leader, follower, observer, standalone; looking; or stopped."""
        return "stopped" if self.running is None else self.running.server.role.name()

    @property
    def serves(self) -> bool:
        """Whether clients are served now."""
        return self.running is not None and self.running.server.role.serves()


class AsyncEnsemble:
    """``participants`` voters with ids 1…n, and ``observers`` with the ids behind them, in one process.

    ``options`` are keys of ``zoo.cfg``; ``force_sync`` has the disk obey fsync, which tests rarely need;
    ``folder`` is kept, where a temporary one is removed.  One participant alone is a standalone server.
    ``relays`` has every server take observers (observerMasterPort); those there from the start stand under
    the participants that follow.

        async with AsyncEnsemble(participants=3, observers=1) as ensemble:
            await ensemble.kill(ensemble.leader)
    """

    def __init__(
        self,
        participants: int = 3,
        observers: int = 0,
        *,
        options: Mapping[str, object] | None = None,
        force_sync: bool = False,
        folder: str | Path | None = None,
        relays: bool = False,
    ) -> None:
        if participants < 1:
            raise ValueError("an ensemble has at least one participant")
        self.members: dict[int, Member] = {}
        self._options = {key: str(value) for key, value in (options or {}).items()}
        self._force_sync = force_sync
        self._given_folder = folder
        self._relays = relays
        self._folder = Path()
        self._doors = Doors()
        self._ports: list[int] = []
        self._shape = (participants, observers)

    # --- life ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "AsyncEnsemble":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Starts everybody and waits until all serve."""
        given = self._given_folder
        self._folder = Path(tempfile.mkdtemp(prefix="zabra-") if given is None else given)
        participants, observers = self._shape
        try:
            for sid in range(1, participants + observers + 1):
                self._make(sid, sid > participants)
            lines = [member.line for member in self.members.values()]
            for member in self.members.values():
                self._write_config(member, lines)
            await asyncio.gather(*[self._launch(member) for member in self.members.values()])
            await self.wait_ready()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stops everybody; the temporary folder goes."""
        running = [member.sid for member in self.members.values() if member.running is not None]
        await asyncio.gather(*[self.stop(sid) for sid in running])
        # Connections that are being closed are, once the loop has come round.
        for _ in range(3):
            await asyncio.sleep(0)
        give_back(self._ports)
        self._ports = []
        if self._given_folder is None and self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self, sid: int, is_observer: bool) -> Member:
        ports = take_ports(PORTS_EACH)
        self._ports += ports
        folder = self._folder / f"server-{sid}"
        folder.mkdir(parents=True, exist_ok=True)
        member = Member(sid, is_observer, folder, ports)
        self.members[sid] = member
        self._doors.places[member.quorum_port] = sid
        self._doors.places[member.election_port] = sid
        self._doors.places[member.master_port] = sid
        return member

    def _write_config(self, member: Member, lines: list[str]) -> None:
        data = member.folder / "data"
        data.mkdir(exist_ok=True)
        (data / "myid").write_text(f"{member.sid}\n")
        options = {**FAST, "dataDir": str(data), "forceSync": "yes" if self._force_sync else "no"}
        if len(lines) == 1 and self._options.get("standaloneEnabled", "true") != "false":
            options |= {"clientPort": str(member.client_port), "clientPortAddress": HOST}
            lines = []
        elif self._shape[0] == 1:
            options["standaloneEnabled"] = "false"
        if member.is_observer:
            options["peerType"] = "observer"
        if self._relays:
            voters = [one.sid for one in self.members.values() if not one.is_observer]
            options |= self._relay_options(member, voters if member.is_observer else [])
        options |= self._options
        text = "".join([f"{key}={value}\n" for key, value in options.items()])
        (member.folder / "zoo.cfg").write_text(text + "".join([line + "\n" for line in lines]))

    def _relay_options(self, member: Member, under: Iterable[int]) -> dict[str, str]:
        """That it takes observers, and whom it stands under itself."""
        masters = [f"{HOST}:{self.members[sid].master_port}" for sid in under]
        named = {"zabra.observerMasters": ",".join(masters)} if masters else {}
        return {"observerMasterPort": str(member.master_port), **named}

    async def _launch(self, member: Member) -> None:
        config, _ = load_config(str(member.folder / "zoo.cfg"), read=read_file)
        plan = plan_of(config)
        if config.join:
            await join(plan, config.join, log.info)
        plan.make_node = functools.partial(DoorNode, member.sid, self._doors)
        if not self._force_sync:
            plan.make_disk = UnsyncedDisk
        publishers = AttachedPublishers(config.publishers, open_door(config))
        running = await start(
            plan, lambda server: words_of(config, server, publishers.gauge_sets), None, publishers.informed
        )
        member.running, member.publishers = running, publishers
        publishers.start(plan, running)

    # --- what there is -------------------------------------------------------------------------------------

    @property
    def connect_string(self) -> str:
        """All client addresses, comma separated."""
        return ",".join([member.address for member in self.members.values()])

    @property
    def leader(self) -> int:
        """Sid of the leader (or of the standalone server).  Raises LookupError where there is none."""
        for member in self.members.values():
            if member.mode in ("leader", "standalone") and self._is_established(member):
                return member.sid
        raise LookupError("nobody leads")

    def _is_established(self, member: Member) -> bool:
        assert member.running is not None
        return member.running.server.role.tree_is_committed()

    @property
    def followers(self) -> list[int]:
        """Sids of those that follow."""
        return [member.sid for member in self.members.values() if member.mode == "follower"]

    @property
    def observers(self) -> list[int]:
        """Sids of those that observe."""
        return [member.sid for member in self.members.values() if member.mode == "observer"]

    def client(self, *sids: int, **arguments: object) -> AsyncClient:
        """An ``AsyncClient`` for all servers, or for those named; to be entered with ``async with``."""
        hosts = ",".join([self.members[sid].address for sid in sids or self.members])
        return AsyncClient(hosts, **arguments)  # type: ignore[arg-type]  # the caller's

    # --- waiting -------------------------------------------------------------------------------------------

    async def wait(self, what: str, condition: Callable[[], bool], within_s: float = READY_WITHIN_S) -> None:
        """Returns once ``condition`` holds; it is asked whenever some server has done something.

        Raises TimeoutError with ``what`` and the modes of all servers.
        """
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    await self._doors.next_change()
        except TimeoutError:
            modes = {member.sid: member.mode for member in self.members.values()}
            raise TimeoutError(f"not within {within_s:g} s: {what}; {modes}") from None

    async def wait_ready(self, *sids: int, within_s: float = READY_WITHIN_S) -> None:
        """Returns once the servers named serve; by default, all that run."""

        def all_serve() -> bool:
            members = [self.members[sid] for sid in sids] or [
                member for member in self.members.values() if member.running is not None
            ]
            return all(member.serves for member in members)

        await self.wait("servers serve", all_serve, within_s)

    async def wait_leader(self, *among: int, within_s: float = READY_WITHIN_S) -> int:
        """Returns the leader, once there is one (of those named)."""

        def is_led() -> bool:
            try:
                return not among or self.leader in among
            except LookupError:
                return False

        def has_leader() -> bool:
            try:
                return self.leader > 0 and is_led()
            except LookupError:
                return False

        await self.wait("there is a leader", has_leader, within_s)
        return self.leader

    # --- servers come and go -------------------------------------------------------------------------------

    async def start(self, sid: int) -> None:
        """Starts a server that does not run; does not wait until it serves (``wait_ready`` does)."""
        member = self.members[sid]
        if member.running is not None:
            raise RuntimeError(f"server {sid} runs already")
        await self._launch(member)

    async def stop(self, sid: int) -> None:
        """Stops a server cleanly."""
        running = self._running(sid)
        await self._stop_publishers(sid)
        await running.stop()
        self.members[sid].running = None

    async def kill(self, sid: int) -> None:
        """Drops a server as a crash would: what it had not written is gone."""
        await self._running(sid).kill()
        await self._stop_publishers(sid)
        self.members[sid].running = None

    async def _stop_publishers(self, sid: int) -> None:
        publishers = self.members[sid].publishers
        if publishers is not None:
            await publishers.stop()

    async def restart(self, sid: int) -> None:
        """Stops (if it runs), starts, and waits until the server serves."""
        if self.members[sid].running is not None:
            await self.stop(sid)
        await self.start(sid)
        await self.wait_ready(sid)

    async def add(self, observer: bool = False) -> int:
        """Starts one more server, which learns from the others without a vote; returns its sid.

        A reconfiguration (with ``members[sid].line``) makes it a member; that takes reconfigEnabled=true.
        """
        sid = max(self.members) + 1
        member = self._make(sid, observer)
        there = [one for one in self.members.values() if one.running is not None and one.is_listed]
        lines = [one.line for one in there] + [member.line]
        self._write_config(member, lines)
        await self._launch(member)
        return sid

    async def join(self, *under: int) -> int:
        """Starts an observer that no configuration lists (``zabra.join``); returns its sid among ``members``.

        It stands under the first of those named (in an ensemble with ``relays``) and relays itself, or under
        the leader.
        """
        sid = max(self.members) + 1
        voters = [one for one in self.members.values() if one.running is not None and not one.is_observer]
        member = self._make(sid, True)
        member.is_listed = False
        options = {**FAST, "dataDir": str(member.folder / "data"), "forceSync": "no"}
        options |= {"clientPort": str(member.client_port), "clientPortAddress": HOST}
        options["zabra.join"] = ",".join([one.address for one in voters])
        if under:
            options |= self._relay_options(member, under)
        options |= self._options
        text = "".join([f"{key}={value}\n" for key, value in options.items()])
        (member.folder / "zoo.cfg").write_text(text)
        await self._launch(member)
        return sid

    def _running(self, sid: int) -> RunningServer:
        running = self.members[sid].running
        if running is None:
            raise RuntimeError(f"server {sid} does not run")
        return running

    # --- trouble -------------------------------------------------------------------------------------------

    async def partition(self, *groups: Iterable[int], silently: bool = False) -> None:
        """Cuts all links between servers of different groups; those in no group are a group of their own.

        Connections break at once; ``silently``, they stay and carry nothing, so that it takes syncLimit ticks
        until that is noticed.  Clients reach every server all the same.
        """
        of_server: dict[int, int] = {}
        for number, group in enumerate(groups, 1):
            of_server.update(dict.fromkeys(group, number))
        sids = sorted(self.members)
        pairs = [
            (one, other)
            for one in sids
            for other in sids
            if one < other and of_server.get(one, 0) != of_server.get(other, 0)
        ]
        self._doors.cut(pairs, silently)

    async def heal(self) -> None:
        """Ends every partition."""
        self._doors.heal()

    async def lag(self, sid: int, seconds: float | None) -> None:
        """From now on the server hears from its leader (or relay) this much later; None: not at all.

        One that hears nothing for syncLimit ticks gives its leader up.
        """
        self._running(sid)
        self._doors.nodes[sid].set_delay(seconds)

    async def expire_session(self, session_id: int) -> None:
        """Ends a session as if its client had been silent for too long; returns when all servers know."""
        running = self._running(self.leader)
        role = running.server.role
        assert isinstance(role, Proposing)
        running.node.turn()
        role.close_session(session_id)

        def is_gone() -> bool:
            servers = [one.running.server for one in self.members.values() if one.running is not None]
            return all(session_id not in server.tree.sessions for server in servers if server.role.serves())

        await self.wait("the session is gone", is_gone)

"""Ensemble and Server: ``AsyncEnsemble`` for ordinary code, its loop on a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from zabra.testing.ensemble import READY_WITHIN_S, AsyncEnsemble, Member

T = TypeVar("T")

# A call that takes longer has hung.
CALL_WITHIN_S: Final = 120.0


class LoopThread:
    """An event loop on a thread; ``call`` runs a coroutine there and returns its result."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="zabra-testing", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._runner as runner:
            runner.run(self._wait())

    async def _wait(self) -> None:
        await self._ended

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_WITHIN_S)

    def close(self) -> None:
        """Ends the loop and the thread."""
        self._loop.call_soon_threadsafe(self._ended.set_result, None)
        self._thread.join(CALL_WITHIN_S)


class Ensemble:
    """Real servers in this process; see ``AsyncEnsemble`` for arguments and for what each call does.

        with Ensemble(participants=3, observers=1) as ensemble:
            client = KazooClient(ensemble.connect_string)
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
        self._core = AsyncEnsemble(
            participants, observers, options=options, force_sync=force_sync, folder=folder, relays=relays
        )
        self._thread: LoopThread | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Starts everybody and waits until all serve."""
        self._thread = LoopThread()
        try:
            self._call(self._core.open())
        except BaseException:
            self._end_thread()
            raise

    def close(self) -> None:
        """Stops everybody; the temporary folder goes."""
        if self._thread is not None:
            try:
                self._call(self._core.close())
            finally:
                self._end_thread()

    def _end_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            work.close()
            raise RuntimeError("the ensemble is not open")
        return self._thread.call(work)

    @property
    def members(self) -> dict[int, Member]:
        """The servers, by sid."""
        return self._core.members

    @property
    def connect_string(self) -> str:
        """All client addresses, comma separated."""
        return self._core.connect_string

    @property
    def leader(self) -> int:
        """Sid of the leader; waits for one."""
        return self.wait_leader()

    @property
    def followers(self) -> list[int]:
        """Sids of those that follow."""
        return self._core.followers

    @property
    def observers(self) -> list[int]:
        """Sids of those that observe."""
        return self._core.observers

    def wait(self, what: str, condition: Callable[[], bool], within_s: float = READY_WITHIN_S) -> None:
        """Returns once ``condition`` (called on the servers' thread) holds.  Raises TimeoutError."""
        self._call(self._core.wait(what, condition, within_s))

    def wait_ready(self, *sids: int, within_s: float = READY_WITHIN_S) -> None:
        """Returns once the servers named serve; by default, all that run."""
        self._call(self._core.wait_ready(*sids, within_s=within_s))

    def wait_leader(self, *among: int, within_s: float = READY_WITHIN_S) -> int:
        """Returns the leader, once there is one (of those named)."""
        return self._call(self._core.wait_leader(*among, within_s=within_s))

    def start(self, sid: int) -> None:
        """Starts a server that does not run."""
        self._call(self._core.start(sid))

    def stop(self, sid: int) -> None:
        """Stops a server cleanly."""
        self._call(self._core.stop(sid))

    def kill(self, sid: int) -> None:
        """Drops a server as a crash would."""
        self._call(self._core.kill(sid))

    def restart(self, sid: int) -> None:
        """Stops, starts, and waits until the server serves."""
        self._call(self._core.restart(sid))

    def add(self, observer: bool = False) -> int:
        """Starts one more server, without a vote until a reconfiguration gives it one; returns its sid."""
        return self._call(self._core.add(observer))

    def join(self, *under: int) -> int:
        """Starts an observer that no configuration lists, under one of those named; returns its sid."""
        return self._call(self._core.join(*under))

    def partition(self, *groups: Iterable[int], silently: bool = False) -> None:
        """Cuts all links between servers of different groups."""
        self._call(self._core.partition(*groups, silently=silently))

    def heal(self) -> None:
        """Ends every partition."""
        self._call(self._core.heal())

    def lag(self, sid: int, seconds: float | None) -> None:
        """Has a server hear from its leader this much later; None: not at all."""
        self._call(self._core.lag(sid, seconds))

    def expire_session(self, session_id: int) -> None:
        """Ends a session as if its client had been silent for too long."""
        self._call(self._core.expire_session(session_id))


class Server(Ensemble):
    """One standalone server.

        with Server() as server:
            client = KazooClient(server.connect_string)
    """

    def __init__(
        self,
        *,
        options: Mapping[str, object] | None = None,
        force_sync: bool = False,
        folder: str | Path | None = None,
    ) -> None:
        super().__init__(1, 0, options=options, force_sync=force_sync, folder=folder)

    @property
    def port(self) -> int:
        """The client port."""
        return self.members[1].client_port

"""Node: owns a Server and its doors; the only code that carries out a Ready.

A turn begins with the first thing that happens and ends when the loop comes round again, so everything
that arrived together is answered together: one write per connection, one append, one fsync.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine

from zabra.proto.request import FIRST_CONNECTION_ID
from zabra.proto.txn import TxnEntry
from zabra.runtime.clock import monotonic_ms, wall_ms
from zabra.runtime.command_thread import CommandThread
from zabra.runtime.kernel_sync import KernelSync
from zabra.runtime.log_writer import LogWriter
from zabra.runtime.ports import Port
from zabra.runtime.sockets import SocketOptions
from zabra.server.disk_worker import DiskWorker
from zabra.server.ready import PORT_CLIENT, PORT_ELECTION, Dial, Listen, LogRead, Ready
from zabra.server.recovery import Recovered
from zabra.server.server import EXIT_TXNLOG_ERROR, Server
from zabra.storage.errors import StorageError

log = logging.getLogger("zabra")

# A transport above the high mark is congested: its requests are held back until it falls below the low one.
WRITE_HIGH_BYTES = 1024 * 1024
# Rounds of asyncio's loop from accepting a connection to having a transport for it.
ACCEPTING_ROUNDS = 3
# Connections that wait to be accepted, on a clients' door that a reconfiguration has opened.
CLIENT_BACKLOG = 1024
WRITE_LOW_BYTES = 256 * 1024
# Upstream's ExitCode.UNEXPECTED_ERROR.
EXIT_UNEXPECTED = 1
# Pause between attempts to open the election port, as upstream (QuorumCnxManager.Listener).
BIND_RETRY_S = 1.0

# word, rest of the input -> the text to answer.
WordAnswer = Callable[[str, bytes], bytes]
Informed = Callable[[list[TxnEntry]], None]
# from zxid, to zxid, max bytes -> entries, whether they reach all the way.
Reload = Callable[[], Recovered]
LogReader = Callable[[int, int, int], tuple[list[TxnEntry], bool]]


class Node:
    """One server on the running loop.  ``stopped`` is set with its exit code when it must end."""

    def __init__(
        self,
        server: Server,
        log_worker: DiskWorker,
        snapshot_worker: DiskWorker,
        answer_word: WordAnswer,
        read_log: LogReader,
        reload: Reload,
        informed: Informed | None = None,
        kernel_sync: KernelSync | None = None,
    ) -> None:
        self.server = server
        self._take = server.data_received
        self.loop = asyncio.get_running_loop()
        self.stopped: asyncio.Future[int] = self.loop.create_future()
        self.answer_word = answer_word
        self.read_log = read_log
        self.reload = reload
        self.informed = informed
        self.ports: dict[int, Port] = {}
        self.listeners: list[asyncio.Server] = []
        self.peer_listeners: dict[int, list[asyncio.Server]] = {}
        # Doors are opened and closed in the order in which that was asked for.
        self._listening = asyncio.Lock()
        self.tasks: set[asyncio.Task[None]] = set()
        self._next_conn_id = FIRST_CONNECTION_ID
        self._in_turn = False
        self._turn_began = 0
        # Nothing that happens any more is this server's business.
        self.ended = False
        # How long fsyncs of the log took (``OsDisk.log_sync_times``); also filled by another thread.
        self.log_sync_times: deque[float] = deque()
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = 0
        self._backlog_limit = server.settings.max_client_backlog
        self.sockets = SocketOptions()
        # How often opening the election port is tried; 0: until it succeeds.
        self.election_bind_attempts = 3
        self.bind_retry_s = BIND_RETRY_S
        self.log_writer = LogWriter(
            log_worker,
            self.loop,
            self.disk_done,
            self.disk_failed,
            server.settings,
            kernel_sync,
            lambda took_ms: self.log_sync_times.append(took_ms),
        )
        self.snapshot_thread = CommandThread(
            "zabra-snapshot", snapshot_worker, self.loop, self.snapshot_done, self.snapshot_failed
        )

    # --- turns --------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Makes sure that a turn is under way and will end."""
        if not self._in_turn and not self.ended:
            self._in_turn = True
            self._turn_began = monotonic_ms()
            self.server.begin_turn(self._turn_began, wall_ms())
            self.loop.call_soon(self._finish_turn)

    def _finish_turn(self) -> None:
        if self.ended:
            return
        try:
            ready = self.server.ready()
            self._in_turn = False
            self._carry_out(ready)
            self.server.turn_took(monotonic_ms() - self._turn_began)
        except Exception:
            log.exception("internal error: stopping")
            self.fail(EXIT_UNEXPECTED)

    def _carry_out(self, ready: Ready) -> None:
        ports = self.ports
        if ready.disk:
            self.log_writer.submit(ready.disk)
        for conn_id, data in ready.sends:
            port = ports.get(conn_id)
            if port is not None and port.transport is not None:
                port.transport.write(data)
                if port.writes_paused:
                    self._check_backlog(port)
        if ready.snapshot:
            self.snapshot_thread.submit(ready.snapshot)
        if ready.informs and self.informed is not None:
            self.informed(ready.informs)
        if ready.has_rare():
            self._carry_out_rare(ready)
        self._schedule(ready.wake_at_ms)

    def _carry_out_rare(self, ready: Ready) -> None:
        for level, text in ready.log_lines:
            log.log(level, text)
        for conn_id, word, rest in ready.words:
            self._answer(conn_id, word, rest)
        for conn_id in ready.pauses:
            self._pause(conn_id, True)
        for conn_id in ready.resumes:
            self._pause(conn_id, False)
        for conn_id in ready.closes:
            self._close(conn_id)
        for listen in ready.listens:
            self._spawn(self._listen(listen))
        for dial in ready.dials:
            self._spawn(self._dial(dial))
        for read in ready.log_reads:
            self._spawn(self._read_log(read))
        if ready.reload:
            self._spawn(self._reload())
        if ready.stop_code >= 0:
            log.error("%s", ready.stop_reason)
            self.fail(int(ready.stop_code))

    def _schedule(self, when_ms: int) -> None:
        """Arranges for the next turn; at most one timer is pending."""
        if when_ms == 0:
            return
        if self._wake is not None:
            if self._wake_at <= when_ms and not self._wake.cancelled():
                return
            self._wake.cancel()
        self._wake_at = when_ms
        delay = max(0, when_ms - monotonic_ms()) / 1000
        self._wake = self.loop.call_later(delay, self._on_wake)

    def _on_wake(self) -> None:
        self._wake = None
        self.turn()

    def fail(self, code: int) -> None:
        """The node must end with exit code ``code``."""
        if not self.stopped.done():
            self.stopped.set_result(code)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._work_ended)

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        """What a turn had asked for is done; if it has failed, the server would wait for it for ever."""
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("internal error: stopping", exc_info=task.exception())
            self.fail(EXIT_UNEXPECTED)

    # --- what connections report --------------------------------------------------------------------------

    def port_opened(self, port: Port) -> None:
        """A connection was accepted, or a dial has succeeded."""
        transport = port.transport
        assert transport is not None
        if self.ended:
            # It was accepted while the door was being closed.
            transport.abort()
            return
        port.conn_id = self._next_conn_id
        self._next_conn_id += 1
        self.ports[port.conn_id] = port
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self.sockets.apply(sock, port.port, port.dial_id != 0)
        transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        peer = transport.get_extra_info("peername") or ("unknown", 0)
        self.turn()
        self.server.connection_made(port.conn_id, port.port, peer[0], peer[1], port.dial_id)

    def port_data(self, conn_id: int, data: bytes) -> None:
        """Bytes from a connection: the one thing that happens for every packet."""
        if not self._in_turn:
            self.turn()
        self._take(conn_id, data)

    def port_lost(self, port: Port) -> None:
        """A connection is gone."""
        if self.ports.pop(port.conn_id, None) is not None:
            self.turn()
            self.server.connection_lost(port.conn_id)

    def port_congested(self, port: Port) -> None:
        """The peer does not take what is written."""
        self.turn()
        self.server.congested(port.conn_id)
        self._check_backlog(port)

    def port_drained(self, port: Port) -> None:
        """The peer has caught up."""
        self.turn()
        self.server.drained(port.conn_id)

    def _check_backlog(self, port: Port) -> None:
        """Gives up a client that never reads before it takes the server's memory."""
        transport = port.transport
        assert transport is not None
        if self.server.is_client(port.conn_id) and transport.get_write_buffer_size() > self._backlog_limit:
            log.warning("client %s does not read: closing", transport.get_extra_info("peername"))
            transport.abort()

    def disk_done(self, token: int) -> None:
        """The log thread has carried out everything up to ``token``."""
        self.turn()
        while self.log_sync_times:
            self.server.fsync_took(self.log_sync_times.popleft())
        self.server.disk_done(token)

    def disk_failed(self, token: int, message: str) -> None:
        """The log thread has failed and ended."""
        self.turn()
        self.server.disk_failed(token, message)

    def snapshot_done(self, token: int) -> None:
        """The snapshot thread has carried out everything up to ``token``."""
        self.turn()
        self.server.snapshot_done(token)

    def snapshot_failed(self, token: int, message: str) -> None:
        """The snapshot thread has failed and ended."""
        self.turn()
        self.server.snapshot_failed(token, message)

    # --- doors --------------------------------------------------------------------------------------------

    async def listen(self, port: int, host: str, number: int, backlog: int) -> int:
        """Opens a door that stays open; returns the port number it got.  Raises OSError."""
        listener = await self._open(port, host, number, backlog)
        self.listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def _open(self, port: int, host: str, number: int, backlog: int) -> asyncio.Server:
        listener = await self.loop.create_server(
            lambda: Port(self, port),
            host or None,
            number,
            backlog=backlog,
            reuse_address=True,
            start_serving=False,
        )
        try:
            await listener.start_serving()
        except asyncio.CancelledError:
            # The server ends meanwhile; nobody else knows of this door.
            listener.close()
            raise
        return listener

    async def _listen(self, listen: Listen) -> None:
        """Opens or closes the doors for other servers, or moves the clients' door; one after another."""
        async with self._listening:
            if listen.port == PORT_CLIENT:
                await self._move_clients(listen)
            else:
                await self._move_peers(listen)

    async def _move_peers(self, listen: Listen) -> None:
        await self._shut(self.peer_listeners.pop(int(listen.port), []))
        if not listen.opened:
            return
        # Known from the first one on: whoever ends the server closes what is open by then.
        opened = self.peer_listeners[int(listen.port)] = []
        for host, number in listen.addresses:
            try:
                opened.append(await self.open_patiently(int(listen.port), host, number))
            except OSError as error:
                log.error("cannot listen on %s:%d: %s", host, number, error)
                self.turn()
                self.server.listen_failed(int(listen.port), str(error))

    async def open_patiently(self, port: int, host: str, number: int) -> asyncio.Server:
        """Opens a door for other servers; an election port still in use may become free.  Raises OSError."""
        attempt = 1
        while True:
            try:
                return await self._open(port, host, number, 128)
            except OSError as error:
                if port != PORT_ELECTION or attempt == self.election_bind_attempts:
                    raise
                log.warning("cannot listen on %s:%d yet (attempt %d): %s", host, number, attempt, error)
            attempt += 1
            await asyncio.sleep(self.bind_retry_s)

    async def _move_clients(self, listen: Listen) -> None:
        """Clients come in elsewhere from now on; those that are in stay."""
        host, number = listen.addresses[0]
        names: list[tuple[str, int]] = [
            sock.getsockname()[:2] for old in self.listeners for sock in old.sockets
        ]
        # The same port at another address: only one of the doors can be open at a time.
        is_same_port = number in [name[1] for name in names]
        if is_same_port:
            await self._shut(self.listeners)
        try:
            opened = [await self._open(PORT_CLIENT, host, number, CLIENT_BACKLOG)]
        except OSError as error:
            log.error("clients cannot be moved to %s:%d: %s", host, number, error)
            if not is_same_port:
                return
            opened = [await self._open(PORT_CLIENT, name[0], name[1], CLIENT_BACKLOG) for name in names]
        before, self.listeners = self.listeners, opened
        await self._shut(before)

    async def _shut(self, listeners: list[asyncio.Server]) -> None:
        """Closes doors.  First nothing more is accepted: asyncio would drop it without closing it."""
        try:
            if isinstance(self.loop, asyncio.SelectorEventLoop):
                for listener in listeners:
                    for sock in listener.sockets:
                        self.loop.remove_reader(sock.fileno())
                for _ in range(ACCEPTING_ROUNDS):
                    await asyncio.sleep(0)
        finally:
            # Also when the server ends meanwhile.
            for listener in listeners:
                listener.close()

    async def _dial(self, dial: Dial) -> None:
        """Tries the addresses in turn."""
        for host, number in dial.addresses:
            if await self._dial_one(dial, host, number):
                return
        self.turn()
        self.server.dial_failed(int(dial.dial_id))

    async def _dial_one(self, dial: Dial, host: str, number: int) -> bool:
        """Whether a connection was made, however short its life."""
        port = Port(self, int(dial.port), int(dial.dial_id))
        try:
            async with asyncio.timeout(dial.timeout_ms / 1000):
                await self.loop.create_connection(lambda: port, host, number)
        except (OSError, TimeoutError, ValueError) as error:
            # ValueError: a name that cannot be looked up ("a..b"); peers may tell any.
            log.debug("dialling %s:%d: %s", host, number, error)
            if port.transport is None:
                return False
            # It was made, and the time ran out before that was known here.  uvloop has closed it, and tells
            # nobody.
            port.transport.abort()
            self.port_lost(port)
        return True

    async def _read_log(self, read: LogRead) -> None:
        """Reads txns back from the log, off the loop."""
        entries, complete = await self.loop.run_in_executor(
            None, self.read_log, int(read.from_zxid), int(read.to_zxid), int(read.max_bytes)
        )
        self.turn()
        self.server.log_read(int(read.token), entries, complete)

    async def _reload(self) -> None:
        """Loads the tree anew, off the loop; both queues are empty meanwhile."""
        try:
            recovered = await self.loop.run_in_executor(None, self.reload)
        except (OSError, StorageError) as error:
            # Without its tree this server is nothing, and would look for a leader for ever.
            log.error("the data cannot be loaded again: %s", error)
            self.fail(EXIT_TXNLOG_ERROR)
            return
        self.turn()
        self.server.reloaded(recovered)

    def _answer(self, conn_id: int, word: str, rest: bytes) -> None:
        """Answers a four-letter word and closes."""
        port = self.ports.get(conn_id)
        if port is not None and port.transport is not None:
            port.transport.write(self.answer_word(word, rest))
            self._close(conn_id)
            self.turn()
            self.server.connection_lost(conn_id)

    def _pause(self, conn_id: int, paused: bool) -> None:
        port = self.ports.get(conn_id)
        if port is not None and port.transport is not None and not port.transport.is_closing():
            if paused:
                port.transport.pause_reading()
            else:
                port.transport.resume_reading()

    def _close(self, conn_id: int) -> None:
        port = self.ports.pop(conn_id, None)
        if port is not None and port.transport is not None:
            port.transport.close()

    async def stop(self) -> None:
        """Closes the doors, then the connections, and waits until the disk has everything."""
        await self._shut_all()
        if self._in_turn:
            self._finish_turn()
        self.end()
        await self.loop.run_in_executor(None, self.log_writer.stop)
        await self.loop.run_in_executor(None, self.snapshot_thread.stop)

    async def kill(self) -> None:
        """Ends as a process does that is killed: what is not on its way to the disk never gets there."""
        await self._shut_all()
        self.end()
        await self.loop.run_in_executor(None, self.log_writer.abandon)
        await self.loop.run_in_executor(None, self.snapshot_thread.abandon)

    async def _shut_all(self) -> None:
        listeners = list(self.listeners)
        for opened in self.peer_listeners.values():
            listeners += opened
        await self._shut(listeners)

    def end(self) -> None:
        """No more turns; doors and connections are closed."""
        self.ended = True
        self.log_writer.detach()
        for listener in self.listeners:
            listener.close()
        for listeners in self.peer_listeners.values():
            for listener in listeners:
                listener.close()
        if self._wake is not None:
            self._wake.cancel()
        for task in list(self.tasks):
            task.cancel()
        for port in list(self.ports.values()):
            if port.transport is not None:
                port.transport.close()

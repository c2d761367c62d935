"""A small ZooKeeper server to test load generators against: strict about bytes, and able to misbehave.

It decodes with the generated records, so what it accepts is the protocol and not what the generator happens
to send.  Every breach is kept in ``violations``.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections import Counter
from types import TracebackType

from zabra.jute.primitives import JuteError, Reader, Writer
from zabra.proto import records

EVENT_XID, PING_XID = -1, -2
CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_CHILDREN, SYNC, PING, CLOSE = 1, 2, 3, 4, 5, 8, 9, 11, -11
NO_NODE, NODE_EXISTS, NOT_EMPTY = -101, -110, -111


class Misbehaviour:
    """What the fake does wrong, or slowly, on purpose; counts are per connection unless said otherwise."""

    def __init__(self) -> None:
        self.refuse_first = 0
        """So many connections (of all) are closed without an answer to the connect request."""
        self.close_after: int | None = None
        """Close the connection after so many answers."""
        self.shift_xid_at: int | None = None
        """The answer with this number carries a wrong xid."""
        self.error_for: dict[int, int] = {}
        """Opcode to the error it is always answered with."""
        self.answer_in_groups = 1
        """Reads (getData) are answered only when so many are waiting on the connection."""
        self.until_ping = False
        """getData is answered only once a ping has come."""
        self.byte_by_byte = False
        """Answers leave one byte at a time."""


class FakeZooKeeper:
    """The server, a context manager.  ``nodes`` maps path to data; several servers may share it."""

    def __init__(self, nodes: dict[str, bytes] | None = None) -> None:
        self.nodes = {"/": b""} if nodes is None else nodes
        self.does = Misbehaviour()
        self.violations: list[str] = []
        self.counts: Counter[int] = Counter()
        self.sessions = 0
        self.goodbyes = 0
        self.refused = 0
        self.lock = threading.RLock()
        self.watchers: dict[str, list[_Connection]] = {}
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Connection, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.request_queue_size = 256
        self._server.socket.listen(256)
        _owners[self._server] = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        """host:port"""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def __enter__(self) -> FakeZooKeeper:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def loads(self) -> int:
        """Requests answered other than goodbyes and pings."""
        return sum(count for code, count in self.counts.items() if code not in (CLOSE, PING))


_owners: dict[socketserver.BaseServer, FakeZooKeeper] = {}


class _Connection(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        self.zk = _owners[self.server]
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held: list[Writer] = []
        self.answers = 0
        self.pinged = False
        with self.request.makefile("rb") as self.input:
            try:
                self._serve()
            except JuteError as error:
                self.zk.violations.append(repr(error))
            except OSError:
                return  # the client has gone, which it may

    def _frame(self) -> Reader | None:
        head = self.input.read(4)
        if len(head) < 4:
            return None
        return Reader(self.input.read(int.from_bytes(head, "big")))

    def _serve(self) -> None:
        if not self._handshake():
            return
        while (body := self._frame()) is not None:
            header = records.RequestHeader.decode(body)
            self._answer(header, body)
            if body.remaining():
                self.zk.violations.append(f"{body.remaining()} bytes too many in opcode {header.type}")
            if header.type == CLOSE or self.answers == self.zk.does.close_after:
                return

    def _handshake(self) -> bool:
        body = self._frame()
        if body is None:
            return False
        asked = records.ConnectRequest.decode(body)
        with self.zk.lock:
            if self.zk.refused < self.zk.does.refuse_first:
                self.zk.refused += 1
                return False
            self.zk.sessions += 1
            session_id = self.zk.sessions
        answer = Writer()
        records.ConnectResponse(0, asked.time_out, session_id, bytes(16), False).encode(answer)
        self._send(answer)
        return True

    def _send(self, body: Writer) -> None:
        data = body.getvalue()
        frame = len(data).to_bytes(4, "big") + data
        step = 1 if self.zk.does.byte_by_byte else len(frame)
        # Watch events come from other connections' threads: a frame must stay whole.
        with self.zk.lock:
            for i in range(0, len(frame), step):
                self.request.sendall(frame[i : i + step])

    def _answer(self, header: records.RequestHeader, body: Reader) -> None:
        does = self.zk.does
        code = int(header.type)
        if (header.xid == PING_XID) != (code == PING):
            self.zk.violations.append(f"opcode {code} with xid {header.xid}")
        self.pinged = self.pinged or code == PING
        with self.zk.lock:
            self.zk.counts[code] += 1
            err, result = self._carry_out(code, body)
        err = does.error_for.get(code, err)
        self.answers += 1
        wrong = 7 if self.answers == does.shift_xid_at else 0
        reply = Writer()
        records.ReplyHeader(header.xid + wrong, 1, err).encode(reply)
        if err == 0:
            reply.write_raw(result.getvalue())
        self._send_in_order(code, reply)

    def _send_in_order(self, code: int, reply: Writer) -> None:
        does = self.zk.does
        if code == PING:
            self._send(reply)
        else:
            self.held.append(reply)
        if code == GET_DATA and len(self.held) < does.answer_in_groups:
            return
        if does.until_ping and not self.pinged and code == GET_DATA:
            return
        for waiting in self.held:
            self._send(waiting)
        self.held.clear()

    def _carry_out(self, code: int, body: Reader) -> tuple[int, Writer]:
        result = Writer()
        if code == PING:
            return 0, result
        if code == CLOSE:
            self.zk.goodbyes += 1
            return 0, result
        if code == CREATE:
            return self._create(records.CreateRequest.decode(body), result), result
        if code == SYNC:
            result.write_ustring(records.SyncRequest.decode(body).path)
            return 0, result
        if code == DELETE:
            return self._delete(records.DeleteRequest.decode(body)), result
        if code == SET_DATA:
            return self._set(records.SetDataRequest.decode(body), result), result
        return self._read(code, body, result), result

    def _create(self, asked: records.CreateRequest, result: Writer) -> int:
        nodes = self.zk.nodes
        if asked.path in nodes:
            return NODE_EXISTS
        if (asked.path.rpartition("/")[0] or "/") not in nodes:
            return NO_NODE
        nodes[asked.path] = asked.data or b""
        if [(acl.perms, acl.id.scheme, acl.id.id) for acl in asked.acl] != [(31, "world", "anyone")]:
            self.zk.violations.append(f"ACL {asked.acl!r}")
        result.write_ustring(asked.path)
        return 0

    def _delete(self, asked: records.DeleteRequest) -> int:
        if asked.path not in self.zk.nodes:
            return NO_NODE
        if self._children(asked.path):
            return NOT_EMPTY
        del self.zk.nodes[asked.path]
        return 0

    def _set(self, asked: records.SetDataRequest, result: Writer) -> int:
        if asked.path not in self.zk.nodes:
            return NO_NODE
        self.zk.nodes[asked.path] = asked.data or b""
        self._stat(asked.path).encode(result)
        event = Writer()
        records.ReplyHeader(EVENT_XID, -1, 0).encode(event)
        records.WatcherEvent(3, 3, asked.path).encode(event)
        for watcher in self.zk.watchers.pop(asked.path, []):
            watcher._send(event)
        return 0

    def _read(self, code: int, body: Reader, result: Writer) -> int:
        path, watch = body.read_ustring(), body.read_bool()
        if path not in self.zk.nodes:
            return NO_NODE
        if code == GET_CHILDREN:
            result.write_ustrings(self._children(path))
        elif code == EXISTS:
            self._stat(path).encode(result)
        elif code == GET_DATA:
            records.GetDataResponse(self.zk.nodes[path], self._stat(path)).encode(result)
        else:
            self.zk.violations.append(f"opcode {code}")
        if watch:
            self.zk.watchers.setdefault(path, []).append(self)
        return 0

    def _children(self, path: str) -> list[str]:
        start = path.rstrip("/") + "/"
        return [name[len(start) :] for name in self.zk.nodes if _is_child(name, start)]

    def _stat(self, path: str) -> records.Stat:
        return records.Stat(1, 1, 0, 0, 0, 0, 0, 0, len(self.zk.nodes[path]), len(self._children(path)), 1)


def _is_child(name: str, start: str) -> bool:
    return name.startswith(start) and len(name) > len(start) and "/" not in name[len(start) :]

"""One connection to the door: HTTP/1.1 by h11, WebSocket by wsproto, and then bytes that the hub has made.

    GET /feed       changes, as SSE, WebSocket, NDJSON or long-poll (``query``)
    GET /ready      200 while the server serves and is not too far behind, else 503
    GET /healthz    200 while the door runs

Once a stream has begun nothing is parsed any more: what a subscriber costs is this object, its transport and
what waits in it.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import h11
from wsproto.connection import Connection as WebSocket
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError as BadWebSocket

from zabra.auth.addresses import host_address
from zabra.auth.registry import Providers
from zabra.plugins.door import frames
from zabra.plugins.door.hub import Hub, Subscriber
from zabra.plugins.door.query import NDJSON, POLL, SSE, WEBSOCKET, BadQuery, FeedQuery, parse_query
from zabra.plugins.door.rights import PlainAcl, Reader
from zabra.plugins.door.settings import DoorSettings
from zabra.plugins.feed import Compacted
from zabra.plugins.jsontext import hex_of
from zabra.proto.records import Id

log = logging.getLogger("zabra.feed")

# How long a connection may take to ask for something.
HEAD_S: Final = 15.0
# Connections beside those of subscribers, such as load balancers': more are cut without a word.
OTHERS_MAX: Final = 50
HEAD_TOO_LARGE: Final = "the head of the request is too large (feed.maxHeaderBytes)"
# Credentials whose rights are remembered.
READERS_MAX: Final = 10_000
CONTENT_TYPES: Final = {SSE: "text/event-stream", NDJSON: "application/x-ndjson"}

# 1008 policy, 1013 try again later (RFC 6455 and its registry).
CLOSE_BAD_FRAME: Final = b"\x88\x02\x03\xea"
CLOSE_END: Final = b"\x88\x02\x03\xf5"

Headers = dict[str, str]


class Refusal(Exception):
    """The answer to a request that cannot be granted."""

    def __init__(self, status: int, error: str, text: str, headers: Headers | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.error = error
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"error": self.error, "message": str(self)}


class Door:
    """What all connections share.

    Args:
        acl_now: asks for the ACL of a path.
    """

    def __init__(
        self, settings: DoorSettings, hub: Hub, providers: Providers, acl_now: Callable[[str], Any]
    ) -> None:
        self.settings = settings
        self.hub = hub
        self.acl_now = acl_now
        self._providers = providers
        self._readers: dict[tuple[tuple[str, str], ...], Reader] = {}
        self.connections: dict[Connection, None] = {}
        self.limit = settings.max_subscribers
        self.refused = 0
        self.cut = 0

    def reader(self, address: str, authorization: str) -> tuple[Reader, bool]:
        """What a peer with this header may see, and whether it showed credentials.  Raises Refusal."""
        ids = [Id("ip", host_address(address))]
        if authorization:
            scheme, _, text = authorization.partition(" ")
            try:
                proof = base64.b64decode(text.strip(), validate=True)
            except binascii.Error:
                proof = b""
            found = None
            if scheme.lower() == "basic" and b":" in proof:
                found = self._providers.authenticate("digest", proof)
            if found is None:
                raise Refusal(
                    401, "noAuth", "credentials are a user and password, by Basic", dict(ASK_PASSWORD)
                )
            ids += found
        key = tuple([(id.scheme, id.id) for id in ids])
        reader = self._readers.get(key)
        if reader is None:
            if len(self._readers) >= READERS_MAX:
                self._readers.clear()
            reader = self._readers[key] = Reader(self._providers, ids)
        return reader, bool(authorization)


ASK_PASSWORD: Final = {"WWW-Authenticate": 'Basic realm="zabra", charset="UTF-8"'}


class Connection(asyncio.Protocol):
    """See the module.  It is the ``hub.Sink`` of its subscriber."""

    __slots__ = (
        "_door", "_http", "_loop", "_poll_headers", "_subscriber", "_task", "_timer", "_transport", "_waiter",
        "_websocket", "address", "is_paused", "keeps_alive",
    )  # fmt: skip

    def __init__(self, door: Door) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._http: h11.Connection | None = None
        self._websocket: WebSocket | None = None
        self._subscriber: Subscriber | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._poll_headers: Headers | None = None
        self.address = ""
        self.is_paused = False

    # --- asyncio's calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # (uvloop's transports are not asyncio.Transports.)
        self._transport = cast("asyncio.Transport", transport)
        door = self._door
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._transport.set_write_buffer_limits(high=door.settings.buffer_bytes)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=door.settings.max_header_bytes)
        if len(door.connections) >= door.limit + OTHERS_MAX:
            door.refused += 1
            self._transport.abort()
            return
        door.connections[self] = None
        self._set_timer(HEAD_S, self._took_too_long)

    def connection_lost(self, error: Exception | None) -> None:
        self._door.connections.pop(self, None)
        self._transport = None
        self._clear_timer()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._subscriber is not None:
            self._door.hub.remove(self._subscriber)
            self._subscriber = None
        self._wake()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._websocket is not None:
            self._take_frames(data)
        elif self._http is not None:
            self._http.receive_data(data)
            self._next_request()
        # What comes while a stream goes out is nobody's.

    def pause_writing(self) -> None:
        self.is_paused = True
        self._set_timer(self._door.settings.slow_reader_ms / 1000, self._is_too_slow)

    def resume_writing(self) -> None:
        self.is_paused = False
        self._clear_timer()
        self._wake()

    # --- time -----------------------------------------------------------------------------------------------

    def _set_timer(self, seconds: float, call: Callable[[], None]) -> None:
        self._clear_timer()
        self._timer = self._loop.call_later(seconds, call)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _took_too_long(self) -> None:
        if self._http is not None and self._http.our_state is h11.IDLE and self._http.trailing_data[0]:
            self._refuse(Refusal(408, "tooSlow", "the request took too long"), closes=True)
        elif self._transport is not None:
            self._transport.close()

    def _is_too_slow(self) -> None:
        self._door.cut += 1
        log.info("a subscriber at %s takes nothing: it is cut", self.address)
        if self._transport is not None:
            self._transport.abort()

    # --- requests -------------------------------------------------------------------------------------------

    def _next_request(self) -> None:
        http = self._http
        while http is not None and self._task is None and self._subscriber is None:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(self._bad_request(error), closes=True)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._clear_timer()
                self._task = self._loop.create_task(self._answer(event))
            elif isinstance(event, h11.Data):
                self._refuse(Refusal(400, "badRequest", "a request has no body here"), closes=True)
                return
            elif isinstance(event, h11.ConnectionClosed):
                self._close()
                return

    @staticmethod
    def _bad_request(error: h11.RemoteProtocolError) -> Refusal:
        status = error.error_status_hint
        if status == 431:
            return Refusal(431, "tooLarge", HEAD_TOO_LARGE)
        return Refusal(status, "badRequest", f"this is no HTTP request: {error}")

    async def _answer(self, request: h11.Request) -> None:
        try:
            await self._serve(request)
        except Refusal as refusal:
            self._task = None
            self._refuse(refusal)
        except (ConnectionError, OSError) as error:
            self._task = None
            self._refuse(Refusal(503, "unavailable", str(error)), closes=True)
        except Exception:
            log.exception("a request failed")
            self._task = None
            self._refuse(Refusal(500, "failed", "see the server's log"), closes=True)

    async def _serve(self, request: h11.Request) -> None:
        headers = _headers_of(request)
        if sum([len(name) + len(value) + 4 for name, value in request.headers]) > (
            self._door.settings.max_header_bytes
        ):
            raise Refusal(431, "tooLarge", HEAD_TOO_LARGE, {"Connection": "close"})
        if len(request.target) > self._door.settings.max_filter_bytes:
            raise Refusal(414, "tooLarge", "the path with its query is too long (feed.maxFilterBytes)")
        if request.method not in (b"GET", b"HEAD"):
            raise Refusal(405, "badMethod", "there is GET only", {"Allow": "GET, HEAD"})
        target = urlsplit(request.target.decode("latin-1"))
        if target.path == "/feed":
            await self._serve_feed(target.query, headers)
            return
        status, body = self._plain_page(target.path, target.query)
        self._task = None
        self._respond(status, body, {}, with_body=request.method == b"GET")

    def _plain_page(self, path: str, query: str) -> tuple[int, dict[str, Any]]:
        if path == "/healthz":
            return 200, {"status": "ok", **self._picture()}
        if path == "/ready":
            why = self._not_ready(query)
            return (503 if why else 200), {"ready": not why, **({"reason": why} if why else {}),
                                           **self._picture()}  # fmt: skip
        if path == "/":
            return 200, {"feed": "/feed", "ready": "/ready", "health": "/healthz"}
        raise Refusal(404, "noPage", "there are /feed, /ready and /healthz")

    def _picture(self) -> dict[str, Any]:
        door = self._door
        status = door.hub.status()
        return {
            "server": door.settings.server_id,
            "mode": status.mode,
            "zxid": hex_of(max(0, door.hub.position)),
            **frames.lag_object(status),
            "subscribers": len(door.hub.subscribers),
            "connections": len(door.connections),
            "fellBehind": door.hub.fell_behind,
            "cut": door.cut,
            "refused": door.refused,
        }

    def _not_ready(self, query: str) -> str:
        """Why no subscribers should be sent here; empty: they should."""
        door = self._door
        status = door.hub.status()
        limits = {name: values[-1] for name, values in parse_qs(query).items()}
        unknown = [name for name in limits if name not in ("maxLagMs", "maxLagTxns")]
        if unknown or not all(value.isascii() and value.isdigit() for value in limits.values()):
            raise Refusal(400, "badArguments", "parameters are maxLagMs and maxLagTxns, whole numbers")
        if not status.serves:
            return f"the server does not serve ({status.mode})"
        if door.hub.position < 0:
            return "the feed has not begun"
        if self._is_refused_here():
            return "a voter does not serve the feed (feed.onVoters)"
        for name, lag in (("maxLagMs", status.lag_ms), ("maxLagTxns", status.lag_txns)):
            if name in limits and not 0 <= lag <= int(limits[name]):
                return f"the lag is {'not known' if lag < 0 else lag}, {name} is {limits[name]}"
        return ""

    def _is_refused_here(self) -> bool:
        return self._door.hub.status().is_voter and not self._door.settings.on_voters

    # --- the feed -------------------------------------------------------------------------------------------

    async def _serve_feed(self, text: str, headers: Headers) -> None:
        door = self._door
        is_websocket = headers.get("upgrade", "").lower() == "websocket"
        self._check_origin(headers, is_websocket)
        if self._is_refused_here():
            raise Refusal(503, "voter", "a voter does not serve the feed (feed.onVoters); ask an observer")
        if door.hub.position < 0:
            raise Refusal(503, "starting", "the feed has not begun yet", {"Retry-After": "1"})
        try:
            query = parse_query(
                text, headers.get("accept", ""), headers.get("last-event-id", ""), is_websocket
            )
        except BadQuery as error:
            raise Refusal(400, "badArguments", str(error)) from None
        reader, has_credentials = door.reader(self.address, headers.get("authorization", ""))
        acl: PlainAcl | None = await door.acl_now(query.path)
        if not reader.may_read(acl):
            raise Refusal(
                403 if has_credentials else 401,
                "noAuth",
                f"{query.path} may not be read",
                None if has_credentials else dict(ASK_PASSWORD),
            )
        try:
            query = await door.hub.begin_at(query, reader)
        except Compacted as compacted:
            raise Gone(compacted.since, compacted.oldest) from None
        if len(door.hub.subscribers) >= door.limit:
            door.refused += 1
            raise Refusal(
                503,
                "full",
                "there are as many subscribers as may be (feed.maxSubscribers)",
                {"Retry-After": "5"},
            )
        self._task = None
        self._begin(query, reader, headers)

    def _check_origin(self, headers: Headers, is_websocket: bool) -> None:
        """A page of another origin must not read by its user's address and passwords.

        To SSE browsers apply the answer's headers; to WebSocket they apply nothing.
        """
        origin = headers.get("origin", "")
        if is_websocket and origin and urlsplit(origin).netloc != headers.get("host", ""):
            allowed = self._door.settings.allow_origins
            if origin not in allowed and "*" not in allowed:
                raise Refusal(403, "origin", f"pages of {origin[:100]} may not read this (feed.allowOrigins)")

    def _cross_origin(self, headers: Headers) -> Headers:
        origin = headers.get("origin", "")
        allowed = self._door.settings.allow_origins
        if origin and origin in allowed:
            return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true",
                    "Vary": "Origin"}  # fmt: skip
        return {"Access-Control-Allow-Origin": "*"} if origin and "*" in allowed else {}

    def _standing(self) -> Headers:
        """Where the feed is, in every answer."""
        status = self._door.hub.status()
        found = {"X-Zabra-Zxid": hex_of(max(0, self._door.hub.position)), "Cache-Control": "no-store"}
        if status.lag_txns >= 0:
            found["X-Zabra-Lag-Txns"] = str(status.lag_txns)
        if status.lag_ms >= 0:
            found["X-Zabra-Lag-Ms"] = str(status.lag_ms)
        return found

    def _begin(self, query: FeedQuery, reader: Reader, headers: Headers) -> None:
        http, transport = self._http, self._transport
        if http is None or transport is None:
            return
        if query.format == POLL:
            self._poll_headers = self._cross_origin(headers)
            self._set_timer(query.wait_s, self._poll_is_over)
        elif query.format == WEBSOCKET:
            self._upgrade(headers)
        else:
            if http.their_http_version == b"1.0":
                raise Refusal(400, "badRequest", "streams need HTTP/1.1; a poll does not")
            rows = {"Content-Type": CONTENT_TYPES[query.format], "X-Accel-Buffering": "no",
                    "Transfer-Encoding": "chunked", **self._standing(),
                    **self._cross_origin(headers)}  # fmt: skip
            head = h11.Response(status_code=200, headers=list(rows.items()), reason="OK")
            transport.write(http.send(head) or b"")
            self._http = None
        self._subscriber = self._door.hub.add(query, reader, self)

    def _upgrade(self, headers: Headers) -> None:
        assert self._transport is not None
        handshake = H11Handshake(ConnectionType.SERVER)
        rows = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        try:
            handshake.initiate_upgrade_connection(rows, "/feed")
            assert isinstance(next(iter(handshake.events())), Request)
            extra = [(name.lower().encode(), value.encode()) for name, value in self._standing().items()]
            answer = handshake.send(AcceptConnection(extra_headers=extra))
        except (BadWebSocket, StopIteration) as error:
            raise Refusal(400, "badRequest", f"this is no WebSocket handshake: {error}") from None
        assert self._http is not None
        rest = self._http.trailing_data[0]
        self._transport.write(answer)
        self._http = None
        self._websocket = WebSocket(ConnectionType.SERVER)
        if rest:
            self._take_frames(rest)

    def _take_frames(self, data: bytes) -> None:
        """Pings and goodbyes; messages are nobody's."""
        websocket, transport = self._websocket, self._transport
        if websocket is None or transport is None or transport.is_closing():
            return
        try:
            websocket.receive_data(data)
            for event in websocket.events():
                if isinstance(event, Ping) and not self.is_paused:
                    transport.write(websocket.send(event.response()))
                elif isinstance(event, CloseConnection):
                    transport.write(websocket.send(event.response()))
                    self._close()
                    return
        except BadWebSocket:
            transport.write(CLOSE_BAD_FRAME)
            self._close()

    # --- the hub's sink -------------------------------------------------------------------------------------

    def send(self, data: bytes, upto: int) -> None:
        """See ``hub.Sink``."""
        if self._poll_headers is not None:
            self._end_poll(data, upto)
        elif self._transport is not None:
            self._transport.write(data)

    def end(self, data: bytes) -> None:
        """See ``hub.Sink``."""
        subscriber, self._subscriber = self._subscriber, None
        if self._poll_headers is not None:
            self._poll_headers = None
            is_compacted = b'"error":"compacted"' in data
            self._respond_raw(410 if is_compacted else 503, data, {})
        elif self._transport is not None and subscriber is not None:
            tail = CLOSE_END if self._websocket is not None else frames.LAST_CHUNK
            self._transport.write(data + tail)
            self._close()

    async def writable(self) -> None:
        """See ``hub.Sink``."""
        while self.is_paused and self._transport is not None:
            self._waiter = self._loop.create_future()
            await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- polls ----------------------------------------------------------------------------------------------

    def _poll_is_over(self) -> None:
        if self._subscriber is not None:
            self._task = self._loop.create_task(self._answer_nothing(self._subscriber))

    async def _answer_nothing(self, subscriber: Subscriber) -> None:
        upto = await self._door.hub.settle(subscriber)
        if self._poll_headers is not None and self._subscriber is subscriber:
            self._task = None
            self._end_poll(b"", upto)

    def _end_poll(self, texts: bytes, upto: int) -> None:
        headers, self._poll_headers = self._poll_headers, None
        subscriber, self._subscriber = self._subscriber, None
        self._clear_timer()
        if subscriber is not None:
            self._door.hub.remove(subscriber)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        status = frames.text_of({"zxid": hex_of(upto), **frames.lag_object(self._door.hub.status())})
        self._respond_raw(200, status[:-1] + b',"txns":[' + texts + b"]}\n", headers or {})

    # --- answers --------------------------------------------------------------------------------------------

    def _refuse(self, refusal: Refusal, closes: bool = False) -> None:
        self._respond(refusal.status, refusal.body(), refusal.headers, closes=closes)

    def _respond(
        self,
        status: int,
        body: dict[str, Any],
        headers: Headers,
        *,
        with_body: bool = True,
        closes: bool = False,
    ) -> None:
        self._respond_raw(status, frames.text_of(body) + b"\n", headers, with_body=with_body, closes=closes)

    def _respond_raw(
        self, status: int, body: bytes, headers: Headers, *, with_body: bool = True, closes: bool = False
    ) -> None:
        http, transport = self._http, self._transport
        if http is None or transport is None:
            return
        rows = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self._standing(),
                **headers}  # fmt: skip
        if closes:
            rows["Connection"] = "close"
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._close()
            return
        reason = HTTPStatus(status).phrase
        out = http.send(h11.Response(status_code=status, headers=list(rows.items()), reason=reason)) or b""
        out += (http.send(h11.Data(data=body)) or b"") if with_body else b""
        try:
            out += http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:
            # The answer to HEAD, or one whose request was never whole.
            closes = True
        transport.write(out)
        if closes or _state(http) is not h11.DONE:
            self._close()
        else:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Ready for the next request on this connection."""
        http = self._http
        if http is None or self._transport is None:
            return
        while http.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
            event = http.next_event()
            if event is h11.NEED_DATA or isinstance(event, h11.Data):
                # A body, which no request has here.
                self._close()
                return
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
            self._set_timer(HEAD_S, self._took_too_long)
            self._next_request()
        else:
            self._close()

    def _close(self) -> None:
        """After what waits is sent, or the subscriber is too slow for that."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._set_timer(self._door.settings.slow_reader_ms / 1000, self._is_too_slow)
            transport.close()


class Gone(Refusal):
    """History no longer reaches back."""

    def __init__(self, since: int, oldest: int) -> None:
        super().__init__(410, "compacted", "history is compacted")
        self._since = since
        self._oldest = oldest

    def body(self) -> dict[str, Any]:
        """With the oldest there is."""
        return frames.compacted_object(self._since, self._oldest)


def _state(http: h11.Connection) -> object:
    """Of our side, which every call may change."""
    return http.our_state


def _headers_of(request: h11.Request) -> Headers:
    """By lower-case name; of those given twice, both, with a comma."""
    found: Headers = {}
    for name, value in request.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found

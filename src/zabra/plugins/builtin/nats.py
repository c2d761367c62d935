"""``nats``: a message in a JetStream stream for each txn (several where it is larger than a message may be).

The first message of a batch names the stream's last sequence that it expects, the others the message before
them (``Nats-Expected-Last-Sequence``, ``Nats-Expected-Last-Msg-Id``), and the server compares: so each txn is
there exactly once, in order and without gaps, for as long as the stream lives, whoever else tries to publish.
Nothing rests upon the window in which the server knows duplicates.  (Sequences alone would not do for many
messages under way at once: where some of them fail, a later one may meet the sequence that it expects.)

The cursor is in the header of the stream's last message.
"""

import asyncio
import secrets
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import Header, PubAck, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from zabra.plugins.builtin.messages import TXN, Message, cursor_of, messages_of, snapshot_messages
from zabra.plugins.jsontext import hex_of
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap

# What headers and the protocol may take of the server's limit.
_HEADER_BYTES: Final = 1024
# Messages of a snapshot that are under way at once.
_WINDOW: Final = 500
_BAD_IN_NAMES: Final = frozenset(" .*>/\\\t\r\n")


class SequenceError(Exception):
    """The stream is not where it was left."""


class NoServerError(Exception):
    """None of the servers can be connected to; the text says what is wrong with the last one."""


class NatsPublisher:
    """See the module."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Where to.

        Attributes:
            servers: URLs (nats:// or tls://), comma separated; user and password may be in them.
            stream: the stream's name; made where there is none; each publisher has its own.
            subject: of all messages.  Empty: the stream's name and ``.changes``.
            replicas: of the stream, where it is made.
            credentials_file: with a user's JWT and key.
            ca_file: certificates that the server's is checked against; empty: the system's.
            timeout_ms: how long connecting, or one batch, may take.
        """

        servers: str = "nats://127.0.0.1:4222"
        stream: str = "zabra"
        subject: str = ""
        replicas: int = 1
        credentials_file: str = ""
        ca_file: str = ""
        timeout_ms: int = 10_000

        def __post_init__(self) -> None:
            for url in self.servers.split(","):
                if not url.strip().startswith(("nats://", "tls://", "ws://", "wss://")):
                    raise ValueError(f"servers: {url.strip()!r} does not begin with nats:// or tls://")
            if not self.stream or _BAD_IN_NAMES.intersection(self.stream):
                raise ValueError(f"stream: {self.stream!r} is no name of a stream")
            if any(not token or _BAD_IN_NAMES.intersection(token) for token in self.subject.split(".")):
                if self.subject:
                    raise ValueError(f"subject: {self.subject!r} is no subject to publish to")
            if not 1 <= self.replicas <= 5:
                raise ValueError(f"replicas is {self.replicas}, must be 1 to 5")
            if self.timeout_ms < 100:
                raise ValueError(f"timeoutMs is {self.timeout_ms}, must be at least 100")

    def __init__(self, options: "NatsPublisher.Options", make_client: Callable[[], Client] = Client) -> None:
        self._options = options
        self._make_client = make_client
        self._subject = options.subject or f"{options.stream}.changes"
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._limit = 0
        self._sequence = 0
        self._cursor = 0
        self._attempt = secrets.token_hex(8)
        self._made_ids = 0
        # Servers that may still be tried, while it connects.
        self._attempts = 0
        # What is under way: the sequence that each message should get.
        self._waiting: list[tuple[int, asyncio.Future[PubAck]]] = []

    async def open(self, context: PublisherContext) -> int | None:
        """Connects, makes the stream where there is none, and reads its last message."""
        options = self._options
        async with asyncio.timeout(options.timeout_ms / 1000):
            arguments: dict[str, Any] = {}
            if options.credentials_file:
                arguments["user_credentials"] = options.credentials_file
            if options.ca_file:
                arguments["tls"] = await asyncio.to_thread(ssl.create_default_context, cafile=options.ca_file)
            self._client = client = self._make_client()
            servers = [url.strip() for url in options.servers.split(",")]
            self._attempts = len(servers)
            await client.connect(
                servers,
                name=f"zabra-{context.name}",
                # The host begins anew instead, and finds out what has arrived.
                allow_reconnect=False,
                connect_timeout=max(1, options.timeout_ms // 1000),
                error_cb=self._failed,
                closed_cb=self._closed,
                **arguments,
            )
            self._limit = client.max_payload - _HEADER_BYTES
            self._stream = stream = client.jetstream(timeout=options.timeout_ms / 1000)
            return await self._find_cursor(stream)

    async def _find_cursor(self, stream: JetStreamContext) -> int | None:
        name = self._options.stream
        try:
            info = await stream.stream_info(name)
        except NotFoundError:
            info = await stream.add_stream(
                StreamConfig(
                    name=name,
                    subjects=[self._subject],
                    storage=StorageType.FILE,
                    num_replicas=self._options.replicas,
                )
            )
        if self._subject not in (info.config.subjects or []):
            raise ValueError(f"the stream {name} does not take the subject {self._subject}")
        self._sequence = info.state.last_seq
        if info.state.last_seq == 0:
            self._cursor = 0
            return 0
        try:
            last = await stream.get_msg(name, seq=info.state.last_seq)
        except NotFoundError:
            # Emptied, by its limits or by hand: the sequence goes on, and so do we.
            return None
        self._cursor = cursor_of(last.headers, f"the stream {name}")
        return self._cursor

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """A message for each, under way all at once; those behind one that fails fail too."""
        messages: list[Message] = []
        for txn in txns:
            messages += messages_of(txn, self._cursor, self._limit)
            self._cursor = txn.zxid
        async with asyncio.timeout(self._options.timeout_ms / 1000):
            await self._publish(messages)
        return txns[-1].zxid

    async def snap(self, snap: Snap) -> None:
        """Its messages; until the last one is there, the cursor in each is the one before."""
        window: list[Message] = []
        async for message in snapshot_messages(snap, self._cursor, self._limit):
            window.append(message)
            if len(window) >= _WINDOW or message.part < message.parts:
                await self._publish_in_time(window)
                window = []
        await self._publish_in_time(window)
        self._cursor = snap.zxid

    async def _publish_in_time(self, messages: list[Message]) -> None:
        async with asyncio.timeout(self._options.timeout_ms / 1000):
            await self._publish(messages)

    async def _publish(self, messages: Iterable[Message]) -> None:
        stream = self._stream
        assert stream is not None
        before: str | None = None
        try:
            for message in messages:
                headers = message.headers()
                if before is None:
                    headers[Header.EXPECTED_LAST_SEQUENCE] = str(self._sequence)
                else:
                    headers[Header.EXPECTED_LAST_MSG_ID] = before
                headers[Header.MSG_ID] = before = self._id_of(message)
                acknowledged = await stream.publish_async(
                    self._subject, message.body, stream=self._options.stream, headers=headers
                )
                self._sequence += 1
                self._waiting.append((self._sequence, acknowledged))
            for sequence, acknowledged in self._waiting:
                ack = await acknowledged
                if ack.seq != sequence or ack.duplicate:
                    raise SequenceError(f"the server has it at {ack.seq}, not at {sequence}")
        finally:
            waiting, self._waiting = self._waiting, []
            for _, acknowledged in waiting:
                _forget(acknowledged)

    def _id_of(self, message: Message) -> str:
        """The zxid of a txn that is one message; of others an id that no other attempt has."""
        if message.kind == TXN and message.parts == 1:
            return hex_of(message.zxid)
        self._made_ids += 1
        return f"{hex_of(message.zxid)}/{self._attempt}/{self._made_ids}"

    async def _failed(self, error: Exception) -> None:
        """Told of each error: the client would try the same servers again and again to connect.

        Once it is connected, a refusal to store a message comes here too, and not to whoever waits for it.
        """
        if self._stream is not None:
            self._fail(error)
            return
        self._attempts -= 1
        if self._attempts == 0:
            raise NoServerError(f"{type(error).__name__}: {error}") from error

    async def _closed(self) -> None:
        """The connection is gone: nothing more will be acknowledged on it."""
        self._fail(ConnectionError("the connection was lost"))

    def _fail(self, error: Exception) -> None:
        for _, acknowledged in self._waiting:
            if not acknowledged.done():
                acknowledged.set_exception(error)

    async def close(self) -> None:
        """Closes the connection."""
        client, self._client = self._client, None
        self._stream = None
        if client is not None:
            await client.close()


def _forget(acknowledged: "asyncio.Future[PubAck]") -> None:
    """The outcome of one that nobody waits for any more."""
    if acknowledged.done():
        if not acknowledged.cancelled():
            acknowledged.exception()
    else:
        acknowledged.cancel()

"""nats, and a modelled stream: it compares what each message expects, and stores in the order of arrival."""

import asyncio
from types import SimpleNamespace

from nats.js.api import Header, PubAck
from nats.js.errors import APIError, NotFoundError
from tests.plugins.conformance.rows import judged_rows
from tests.plugins.targets.nats import rows_of_messages

from zabra.plugins.builtin.nats import NatsPublisher
from zabra.plugins.conformance import Faults, Published

# Beside what headers may take, there is room for so little that most txns come in parts.
PAYLOAD_BYTES = 1024 + 250


class ModelServer:
    """One stream, on disk with every message that is acknowledged."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.subjects: list[str] | None = None
        self.messages: list[tuple[dict[str, str], bytes]] = []

    def store(self, headers: dict[str, str], body: bytes) -> PubAck:
        """What a server makes of a message.  Raises APIError."""
        last = len(self.messages)
        sequence = headers.get(Header.EXPECTED_LAST_SEQUENCE)
        if sequence is not None and int(sequence) != last:
            raise APIError(400, f"wrong last sequence: {last}", 10071)
        before = headers.get(Header.EXPECTED_LAST_MSG_ID)
        if before is not None and (not last or self.messages[-1][0][Header.MSG_ID] != before):
            raise APIError(400, "wrong last msg ID", 10070)
        for number, (had, _) in enumerate(self.messages, 1):
            if had[Header.MSG_ID] == headers[Header.MSG_ID]:
                return PubAck("zabra", number, duplicate=True)
        self.messages.append((headers, body))
        return PubAck("zabra", last + 1)


class ModelClient:
    """A connection; what fails on it breaks it, and what is behind that is lost."""

    max_payload = PAYLOAD_BYTES

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._is_broken = False
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, servers, **arguments):
        async with self._server.faults.call("connect"):
            pass

    def jetstream(self, timeout):
        return self

    async def stream_info(self, name):
        async with self._server.faults.call("stream info"):
            subjects, last = self._server.subjects, len(self._server.messages)
        if subjects is None:
            raise NotFoundError(404, "stream not found")
        return SimpleNamespace(
            config=SimpleNamespace(subjects=subjects), state=SimpleNamespace(last_seq=last, messages=last)
        )

    async def add_stream(self, config):
        async with self._server.faults.call("add stream"):
            self._server.subjects = config.subjects
        return await self.stream_info(config.name)

    async def get_msg(self, name, seq):
        async with self._server.faults.call("get message"):
            headers = self._server.messages[seq - 1][0]
        return SimpleNamespace(headers=headers)

    async def publish_async(self, subject, body, stream, headers):
        acknowledged = asyncio.get_running_loop().create_future()
        self._tasks.append(asyncio.ensure_future(self._serve(dict(headers), body, acknowledged)))
        return acknowledged

    async def _serve(self, headers, body, acknowledged):
        async with self._turn:
            error: Exception | None = None
            ack: PubAck | None = None
            if self._is_broken:
                error = ConnectionError("the connection was lost")
            else:
                try:
                    async with self._server.faults.call("message"):
                        try:
                            ack = self._server.store(headers, body)
                        except APIError as refusal:
                            error = refusal
                except ConnectionError as lost:
                    self._is_broken = True
                    error = lost
            if not acknowledged.done():
                if error is None:
                    acknowledged.set_result(ack)
                else:
                    acknowledged.set_exception(error)

    async def close(self):
        self._is_broken = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class NatsSubject:
    def __init__(self, faults: Faults) -> None:
        self._server = ModelServer(faults)

    def publisher(self) -> NatsPublisher:
        return NatsPublisher(NatsPublisher.Options(), lambda: ModelClient(self._server))

    def crash(self) -> None:
        """What is acknowledged is on disk."""

    def published(self) -> Published:
        return Published(judged_rows(rows_of_messages(self._server.messages)))

"""NATS with JetStream from the Debian package ``nats-server``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from tests.plugins.targets.target import Row, Target, require


class NatsServer(Target):
    """A place is a stream."""

    kind = "nats"

    def __init__(self) -> None:
        self._program = require("nats-server", "nats-server")
        super().__init__()

    def command(self) -> list[str]:
        """With its store in the folder."""
        store = str(self.folder / "store")
        return [self._program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", store]

    @property
    def url(self) -> str:
        """How it is reached."""
        return f"nats://127.0.0.1:{self.port}"

    def options(self, place: str) -> dict[str, str]:
        """A stream of its own."""
        return {"class": "nats", "servers": self.url, "stream": place, "timeoutMs": "5000"}

    def is_ready(self) -> bool:
        """Whether its streams are there again."""
        if not super().is_ready():
            return False

        async def main() -> bool:
            client = await nats.connect(self.url, allow_reconnect=False)
            try:
                await client.jetstream(timeout=1).account_info()
            except (nats.errors.Error, nats.js.errors.Error):
                return False
            finally:
                await client.close()
            return True

        return asyncio.run(main())

    def ask(self, question: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        """What JetStream says; blocks, on a loop of its own."""

        async def main() -> Any:
            client = await nats.connect(self.url, allow_reconnect=False)
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(main())

    def messages(self, place: str) -> list[tuple[dict[str, str], bytes]]:
        """Headers and body of all, in order."""

        async def question(stream: JetStreamContext) -> list[tuple[dict[str, str], bytes]]:
            try:
                info = await stream.stream_info(place)
            except NotFoundError:
                return []
            if info.state.messages == 0:
                return []
            reading = await stream.subscribe(f"{place}.changes", stream=place, ordered_consumer=True)
            found = []
            while True:
                message = await reading.next_msg(timeout=10)
                found.append((dict(message.headers or {}), message.data))
                if message.metadata.sequence.stream == info.state.last_seq:
                    return found

        return list(self.ask(question))

    def each(self, place: str) -> Iterator[Row]:
        """What a reader makes of the messages."""
        return rows_of_messages(self.messages(place))


def rows_of_messages(messages: Iterable[tuple[dict[str, str], bytes]]) -> Iterator[Row]:
    """As the documentation tells readers to: parts are put together, what is unfinished is dropped."""
    snapshot: list[Row] = []
    pieces: list[bytes] = []
    for headers, body in messages:
        part, parts = (int(number) for number in headers.get("Zabra-Part", "1/1").split("/"))
        if part == 1:
            pieces = []
        pieces.append(body)
        if part < parts:
            continue
        assert len(pieces) == parts
        row = json.loads(b"".join(pieces))
        if headers["Zabra-Kind"] in ("txn", "snapshot"):
            # A snapshot that was begun and has not ended is void.
            snapshot = []
        snapshot.append(row)
        if headers["Zabra-Kind"] in ("txn", "snapshotEnd"):
            assert headers["Zabra-Cursor"] == headers["Zabra-Zxid"]
            yield from snapshot
            snapshot = []

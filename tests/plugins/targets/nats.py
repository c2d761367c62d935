"""NATS with JetStream from the Debian package ``nats-server``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from tests.plugins.targets.target import Row, Target, require

WITHIN_S = 30


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

    def messages(self, place: str) -> Iterator[tuple[dict[str, str], bytes]]:
        """Headers and body of all, in order."""
        with asyncio.Runner() as runner:
            reading = Reading()
            runner.run(reading.begin(self.url, place))
            while page := runner.run(reading.page()):
                yield from page
            runner.run(reading.close())

    def each(self, place: str) -> Iterator[Row]:
        """What a reader makes of the messages."""
        return rows_of_messages(self.messages(place))


class Reading:
    """Reads a stream that nobody adds to any more."""

    def __init__(self) -> None:
        self._found: list[tuple[dict[str, str], bytes]] = []
        self._came = asyncio.Event()
        self._last = self._at = 0
        self._client = nats.NATS()

    async def begin(self, url: str, place: str) -> None:
        """Asks for everything that is there now."""
        await self._client.connect(url, allow_reconnect=False)
        stream = self._client.jetstream()
        try:
            info = await stream.stream_info(place)
        except NotFoundError:
            return
        if info.state.messages:
            self._last = info.state.last_seq
            await stream.subscribe(f"{place}.changes", stream=place, ordered_consumer=True, cb=self._take)

    async def _take(self, message: Msg) -> None:
        self._at = message.metadata.sequence.stream
        self._found.append((dict(message.headers or {}), message.data))
        self._came.set()

    async def page(self) -> list[tuple[dict[str, str], bytes]]:
        """What has come since; empty at the end."""
        if not self._found and self._at < self._last:
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), WITHIN_S)
        page, self._found = self._found, []
        return page

    async def close(self) -> None:
        """Hangs up."""
        await self._client.close()


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

"""What a mirror needs of its target: one call after another, each of which ends."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Protocol, TypeVar

from zabra.client import calls
from zabra.client.aio import AsyncClient
from zabra.client.calls import Call, Part, PartResult
from zabra.proto import codes
from zabra.proto.errors import KeeperError

T = TypeVar("T")


class Session(Protocol):
    """A session with an ensemble; calls are carried out in the order in which they are made."""

    async def call(self, call: Call[T]) -> T:
        """Its value.  Raises KeeperError, ConnectionError, TimeoutError."""

    async def close(self) -> None:
        """Ends it."""


class PartError(KeeperError):
    """A multi was refused because of one of its parts, ``index``."""

    def __init__(self, code: int, path: str, index: int) -> None:
        super().__init__(code, path)
        self.index = index


async def multi(session: Session, parts: Sequence[Part]) -> list[PartResult]:
    """All or nothing.  Raises PartError, KeeperError."""
    results = await session.call(calls.multi(list(parts)))
    for index, result in enumerate(results):
        if result.err not in (codes.OK, codes.ERR_RUNTIME_INCONSISTENCY):
            raise PartError(result.err, parts[index].path, index)
    return results


class ClientSession:
    """A session over the network."""

    def __init__(self, client: AsyncClient, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    async def call(self, call: Call[T]) -> T:
        """See ``Session``."""
        async with asyncio.timeout(self._timeout_s):
            return await self._client.call(call)

    async def close(self) -> None:
        """See ``Session``."""
        await self._client.close()


async def connect(hosts: str, auth: str, timeout_ms: int, tls: ssl.SSLContext | None = None) -> ClientSession:
    """Opens a session; ``auth`` is "scheme:credentials", or empty.  Raises KeeperError, TimeoutError."""
    client = AsyncClient(hosts, timeout_ms=timeout_ms, ssl_context=tls)
    if client.chroot:
        await client.abandon()
        raise ValueError(f"{hosts!r} has a path in it: it is given by itself")
    if auth:
        scheme, _, credentials = auth.partition(":")
        client.add_auth(scheme, credentials.encode("utf-8"))
    try:
        await client.start(timeout_ms / 1000)
    except BaseException:
        await client.abandon()
        raise
    return ClientSession(client, timeout_ms / 1000)


def tls_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext | None:
    """None without ``ca_file``.  Raises OSError, ssl.SSLError."""
    if not ca_file:
        return None
    context = ssl.create_default_context(cafile=ca_file)
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None)
    return context

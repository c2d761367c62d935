"""``webhook``: txns as JSON, POSTed to a URL, a batch at a time and in order, signed where there is a secret.

At least once: the host keeps the cursor.  A request's id, ``<first zxid>-<last zxid>``, is the same whenever
its content is, so a receiver may drop a request that it has had, and has to drop every txn whose zxid is not
above the last one it had.  Headers and signature are those of Standard Webhooks (``webhook-id``,
``webhook-timestamp``, ``webhook-signature``), with ``Idempotency-Key`` beside them.

A snapshot is a row of requests with ``snapshot`` (its zxid) and ``part``, of which the last has ``end``.
"""

import asyncio
import base64
import hashlib
import hmac
import io
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from zabra.plugins.jsontext import dump, hex_of, node_object, txn_text
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap, TryLater

SECRET_PREFIX: Final = "whsec_"
# How long a refusal (4xx) is left alone before the same is tried again: it is not the network's fault.
REFUSED_PAUSE_S: Final = 30.0
# The longest that a receiver may ask to be left alone (Retry-After).
LONGEST_PAUSE_S: Final = 3600.0
_SNAP_NODES: Final = 500
# How much of an answer that is no success is quoted.
_QUOTED: Final = 200
_TRY_AGAIN: Final = (408, 425, 429)


# Headers of every request, seconds that one may take, and what certificates are checked against.
OpenSession = Callable[[dict[str, str], float, ssl.SSLContext | None], aiohttp.ClientSession]


class WebhookError(Exception):
    """The receiver has not taken it, and may if it is tried again."""


class TooLargeError(Exception):
    """The receiver takes no request of this size (413)."""


class WebhookPublisher:
    """See the module."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Where to.

        Attributes:
            url: http:// or https://; user and password in it are sent by HTTP basic auth.
            secret_file: a file with the secret that requests are signed with: ``whsec_`` and base64, or text.
            authorization_file: a file with the value of the header Authorization.
            ca_file: certificates that the server's is checked against; empty: the system's.
            timeout_ms: how long one request may take.
        """

        url: str
        secret_file: str = ""
        authorization_file: str = ""
        ca_file: str = ""
        timeout_ms: int = 10_000

        def __post_init__(self) -> None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("url does not begin with http:// or https:// and a host")
            if self.timeout_ms < 100:
                raise ValueError(f"timeoutMs is {self.timeout_ms}, must be at least 100")

    def __init__(self, options: "WebhookPublisher.Options", open_session: OpenSession | None = None) -> None:
        self._options = options
        self._open_session = open_session or _open_session
        self._session: aiohttp.ClientSession | None = None
        self._secret: bytes | None = None
        self._name = ""

    async def open(self, context: PublisherContext) -> int | None:
        """Reads its files; whether anybody listens shows with the first request."""
        options = self._options
        self._name = context.name
        headers = {"Content-Type": "application/json", "User-Agent": "zabra"}
        tls: ssl.SSLContext | None = None
        if options.secret_file:
            self._secret = secret_of(await asyncio.to_thread(_read_line, options.secret_file))
        if options.authorization_file:
            headers["Authorization"] = await asyncio.to_thread(_read_line, options.authorization_file)
        if options.ca_file:
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=options.ca_file)
        self._session = self._open_session(headers, options.timeout_ms / 1000, tls)
        return None

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """One request, or several where the receiver finds that too large."""
        first, last = hex_of(txns[0].zxid), hex_of(txns[-1].zxid)
        texts = ",".join([txn_text(txn) for txn in txns])
        body = f'{{"publisher":{dump(self._name)},"first":"{first}","last":"{last}","txns":[{texts}]}}'
        try:
            await self._post(f"{first}-{last}", body)
        except TooLargeError as error:
            if len(txns) == 1:
                raise TryLater(f"{error}: a single txn, {first}", REFUSED_PAUSE_S) from None
            half = len(txns) // 2
            await self.inform(txns[:half])
            await self.inform(txns[half:])
        return txns[-1].zxid

    async def snap(self, snap: Snap) -> None:
        """Parts of some nodes each; it is whole with the one that has ``end``."""
        part = 0
        count = 0
        nodes: list[dict[str, Any]] = []
        async for node in snap.nodes:
            nodes.append(node_object(node))
            count += 1
            if len(nodes) >= _SNAP_NODES:
                await self._post_part(snap.zxid, part, nodes, {})
                part += 1
                nodes = []
        await self._post_part(snap.zxid, part, nodes, {"end": True, "count": count})

    async def _post_part(
        self, zxid: int, part: int, nodes: list[dict[str, Any]], more: dict[str, Any]
    ) -> None:
        body = {"publisher": self._name, "snapshot": hex_of(zxid), "part": part, "nodes": nodes, **more}
        try:
            await self._post(f"{hex_of(zxid)}-snapshot-{part}", dump(body))
        except TooLargeError as error:
            raise TryLater(f"{error}: a snapshot's {len(nodes)} nodes", REFUSED_PAUSE_S) from None

    async def _post(self, request_id: str, text: str) -> None:
        session = self._session
        assert session is not None
        body = text.encode("utf-8")
        headers = {"webhook-id": request_id, "Idempotency-Key": request_id}
        timestamp = str(int(time.time()))
        headers["webhook-timestamp"] = timestamp
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, request_id, timestamp, body)
        # A redirect would send what is signed for one place to another.
        async with session.post(
            self._options.url, data=io.BytesIO(body), headers=headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:
                quoted = (await response.content.read(_QUOTED)).decode("utf-8", "replace").strip()
                raise refusal(response.status, response.headers.get("Retry-After", ""), quoted)
            await response.read()

    async def close(self) -> None:
        """Closes the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _open_session(
    headers: dict[str, str], timeout_s: float, tls: ssl.SSLContext | None
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        # One request at a time: their order is the txns'.
        connector=aiohttp.TCPConnector(limit=1, ssl=tls or True),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def refusal(status: int, retry_after: str, quoted: str) -> Exception:
    """What an answer that is no success means."""
    text = f"HTTP {status}" + (f": {quoted}" if quoted else "")
    if status == 413:
        return TooLargeError(text)
    if 300 <= status < 400:
        return TryLater(f"{text}: redirects are not followed, set url to where it leads", REFUSED_PAUSE_S)
    if status < 500 and status not in _TRY_AGAIN:
        return TryLater(f"{text}: refused", REFUSED_PAUSE_S)
    if retry_after.isascii() and retry_after.isdigit():
        return TryLater(text, min(float(retry_after), LONGEST_PAUSE_S))
    return WebhookError(text)


def secret_of(text: str) -> bytes:
    """The key of a secret: the base64 behind ``whsec_``, or the text itself.  Raises ValueError."""
    if not text:
        raise ValueError("the secret is empty")
    if not text.startswith(SECRET_PREFIX):
        return text.encode("utf-8")
    try:
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"the secret has no base64 behind {SECRET_PREFIX}") from None


def signature(secret: bytes, request_id: str, timestamp: str, body: bytes) -> str:
    """The header ``webhook-signature``, version 1."""
    signed = f"{request_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def _read_line(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()

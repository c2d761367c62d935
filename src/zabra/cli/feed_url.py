"""Reading a feed from an HTTP door, with nothing but the standard library: for ``zabra watch --url``.

Goes on over broken connections from the last zxid it was given, so that nothing is missing and nothing comes
twice.
"""

import base64
import http.client
import json
import random
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlencode, urlsplit

from zabra.plugins.feed import Compacted

# A door tells something every few seconds; one that is silent for so long is gone.
SILENCE_S: Final = 45.0
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
LINE_MAX: Final = 64 * 1024 * 1024

Row = dict[str, Any]


class FeedError(Exception):
    """The door refuses, and will go on refusing; the text is for people."""


class Interrupted(Exception):
    """The connection is gone, or the door is not ready: it is worth trying again."""


def credentials(text: str | None) -> str | None:
    """``user:password``, or ``@FILE`` with that on its first line.  Raises FeedError."""
    if text is not None and text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.readline().rstrip("\r\n")
        except OSError as error:
            raise FeedError(f"--auth {text}: {error}") from None
    if text is not None and ":" not in text:
        raise FeedError("--auth: user:password, or @FILE with that")
    return text


class FeedUrl:
    """One feed at ``url`` (the door, with or without ``/feed``); ``since`` moves on with what is read.

    Args:
        auth: user:password; else those of the URL, if it has any.
        say: hears of broken connections.
    """

    def __init__(
        self,
        url: str,
        path: str,
        ops: Sequence[str],
        since: int | None,
        snapshot: bool = False,
        auth: str | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeedError(f"--url {url}: not a URL such as http://observer:8081")
        self._https = parts.scheme == "https"
        self._host = parts.hostname
        try:
            self._port = parts.port
        except ValueError as error:
            raise FeedError(f"--url {url}: {error}") from None
        base = parts.path.rstrip("/")
        self._target = base if base.endswith("/feed") else base + "/feed"
        if auth is None and parts.username is not None:
            auth = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        self._auth = auth
        self._path = path
        self._ops = list(ops)
        self._snapshot = snapshot
        self._say = say
        self.since = since

    def rows(self, follow: bool, pause: Callable[[float], object] = time.sleep) -> Iterator[tuple[Row, str]]:
        """Each row with its text, for ever; without ``follow``, until all there is was given.

        Raises Compacted, FeedError; what is wrong with the very first connection too.
        """
        failures = 0
        was_there = False
        while True:
            try:
                for row, text in self._connection():
                    was_there = True
                    failures = 0
                    yield row, text
                    if not follow and "bookmark" in row:
                        return
                raise Interrupted("the stream has ended")
            except (Interrupted, OSError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
                if not was_there and not isinstance(error, Interrupted):
                    raise FeedError(f"{self._host}: {why}") from None
                longest = min(FIRST_PAUSE_S * (1 << min(failures, 10)), LONGEST_PAUSE_S)
                failures += 1
                self._say(f"{why}; trying again")
                pause(random.uniform(longest / 2, longest))

    def _connection(self) -> Iterator[tuple[Row, str]]:
        """What one connection gives."""
        connection: http.client.HTTPConnection
        if self._https:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=SILENCE_S, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=SILENCE_S)
        try:
            connection.request("GET", self._request(), headers=self._headers())
            response = connection.getresponse()
            if response.status != 200:
                self._refused(response)
            while True:
                line = response.readline(LINE_MAX)
                if not line.endswith(b"\n"):
                    # The end, or a line that was cut.
                    return
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"a line is {line[:40]!r}")
                self._note(row)
                yield row, line.decode("utf-8").rstrip("\n")
        except ValueError as error:
            raise Interrupted(f"this is no feed: {error}") from None
        finally:
            connection.close()

    def _request(self) -> str:
        query: list[tuple[str, str]] = [("path", self._path), *[("op", op) for op in self._ops]]
        if self.since is not None:
            query.append(("since", f"0x{self.since:x}"))
        if self._snapshot:
            query.append(("snapshot", "true"))
        return f"{self._target}?{urlencode(query)}"

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/x-ndjson", "User-Agent": "zabra-watch"}
        if self._auth is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(self._auth.encode()).decode("ascii")
        return headers

    def _note(self, row: Row) -> None:
        """Where reading would go on; raises what the door says as its last."""
        reached = row.get("zxid") or row.get("bookmark") or row.get("snapshotEnd")
        if reached is not None:
            self.since = int(reached, 16)
        elif row.get("error") == "compacted":
            raise Compacted(int(row["since"], 16), int(row["oldest"], 16))
        elif "error" in row:
            raise Interrupted(str(row.get("message")))

    def _refused(self, response: http.client.HTTPResponse) -> None:
        body = response.read(LINE_MAX)
        try:
            row = json.loads(body)
        except ValueError:
            row = {}
        if not isinstance(row, dict):
            row = {}
        text = f"{row.get('message') or response.reason} (HTTP {response.status})"
        if response.status == 410 and "oldest" in row:
            raise Compacted(int(row["since"], 16), int(row["oldest"], 16))
        if response.status in (502, 503, 504):
            raise Interrupted(text)
        raise FeedError(text)

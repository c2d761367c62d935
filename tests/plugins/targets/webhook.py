"""A receiver of webhooks: a small HTTP server of ours, in a process, that appends what it gets to a file.

It answers as a good receiver does: signatures are checked, a request is written before it is answered.  Where
``answers`` has something for a path, that is answered instead, once for each line.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.plugins.targets.target import Row, Target

SECRET = "whsec_" + base64.b64encode(b"sesame sesame sesame 123").decode()


class Receiver(Target):
    """A place is a path of the URL."""

    kind = "webhook"
    exact = False

    def prepare(self) -> None:
        """The secret both sides know."""
        (self.folder / "secret").write_text(SECRET + "\n")

    def command(self) -> list[str]:
        """This file, as a program."""
        return [sys.executable, __file__, str(self.port), str(self.folder)]

    def environment(self) -> dict[str, str]:
        """It needs the repository's root for nothing but its base class."""
        root = Path(__file__).resolve().parents[3]
        return {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}

    def options(self, place: str) -> dict[str, str]:
        """A URL of its own."""
        return {
            "class": "webhook",
            "url": f"http://127.0.0.1:{self.port}/{place}",
            "secretFile": str(self.folder / "secret"),
            "timeoutMs": "5000",
        }

    def answer(self, place: str, *lines: str) -> None:
        """Has the next requests answered by ``status header=value``."""
        (self.folder / f"{place}.answers").write_text("".join(line + "\n" for line in lines))

    def requests(self, place: str) -> list[dict[str, Any]]:
        """All that were taken: ``id`` and ``body``."""
        return list(self._requests(place))

    def _requests(self, place: str) -> Iterator[dict[str, Any]]:
        path = self.folder / f"{place}.jsonl"
        if not path.exists():
            return
        with path.open() as file:
            for line in file:
                # A line may be cut where the receiver was killed: that request was never answered.
                if line.endswith("\n"):
                    yield json.loads(line)

    def each(self, place: str) -> Iterator[Row]:
        """Txns in the order in which they came, repeated ones too; snapshots that are whole."""
        nodes: list[Row] = []
        for request in self._requests(place):
            body = request["body"]
            yield from body.get("txns", [])
            if "snapshot" not in body:
                continue
            if body["part"] == 0:
                nodes = []
            nodes += [{"node": node} for node in body["nodes"]]
            if body.get("end"):
                yield {"snapshot": body["snapshot"]}
                yield from nodes
                yield {"snapshotEnd": body["snapshot"], "nodes": body["count"]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder = Path()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        place = self.path.strip("/")
        status, headers = self._scripted(place)
        if status == 200:
            status = self._take(place, body)
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        text = b"" if status == 200 else b"no, said the receiver"
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _scripted(self, place: str) -> tuple[int, list[tuple[str, str]]]:
        path = self.folder / f"{place}.answers"
        lines = path.read_text().splitlines() if path.exists() else []
        if not lines:
            return 200, []
        path.write_text("".join(line + "\n" for line in lines[1:]))
        status, *headers = lines[0].split()
        return int(status), [(key, value) for key, _, value in (word.partition("=") for word in headers)]

    def _take(self, place: str, body: bytes) -> int:
        request_id = self.headers["webhook-id"]
        signed = f"{request_id}.{self.headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        given = self.headers.get("webhook-signature", "")
        if given != f"v1,{expected}" or self.headers["Idempotency-Key"] != request_id:
            return 401
        line = json.dumps({"id": request_id, "body": json.loads(body)})
        with (self.folder / f"{place}.jsonl").open("a") as file:
            file.write(line + "\n")
        return 200

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def cut_torn_lines(folder: Path) -> None:
    """What a killed receiver was writing it has not answered: it goes."""
    for path in folder.glob("*.jsonl"):
        with path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            while end and os.pread(file.fileno(), 1, end - 1) != b"\n":
                end -= 1
            file.truncate(end)


if __name__ == "__main__":
    _Handler.folder = Path(sys.argv[2])
    cut_torn_lines(_Handler.folder)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()

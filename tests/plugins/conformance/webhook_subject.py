"""webhook, and a modelled receiver that stores a request before it answers."""

import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

from tests.plugins.conformance.rows import judged_rows

from zabra.plugins.builtin.webhook import WebhookPublisher
from zabra.plugins.conformance import Faults, Published

# Larger requests are refused, so that batches are cut.
LARGEST = 900


class WebhookSubject:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._bodies: list[dict] = []

    def publisher(self) -> WebhookPublisher:
        return WebhookPublisher(WebhookPublisher.Options("http://receiver/"), lambda *how: self)

    @asynccontextmanager
    async def post(self, url, data, headers, allow_redirects):
        """The session's."""
        body = data.read()
        status = 413 if len(body) > LARGEST and len(json.loads(body).get("txns", [])) > 1 else 200
        async with self._faults.call("POST"):
            if status == 200:
                self._bodies.append(json.loads(body))

        async def read(limit=-1):
            return b""

        yield SimpleNamespace(status=status, headers={}, content=SimpleNamespace(read=read), read=read)

    async def close(self):
        """The session's."""

    def crash(self) -> None:
        """It has stored what it has answered."""

    def published(self) -> Published:
        return Published(judged_rows(self._rows()))

    def _rows(self):
        nodes: list[dict] = []
        for body in self._bodies:
            yield from body.get("txns", [])
            if "snapshot" not in body:
                continue
            nodes = body["nodes"] if body["part"] == 0 else [*nodes, *body["nodes"]]
            if body.get("end"):
                yield {"snapshot": body["snapshot"]}
                yield from [{"node": node} for node in nodes]
                yield {"snapshotEnd": body["snapshot"], "nodes": body["count"]}

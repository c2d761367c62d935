"""Servers with a door for tests, and clients of it."""

import asyncio
import base64
import inspect
import json
from contextlib import asynccontextmanager

import aiohttp

from zabra.auth.schemes import generate_digest
from zabra.testing.ensemble import AsyncEnsemble

WITHIN_S = 30
SUPER = "super:secret"
OPTIONS = {"feed.port": "0", "feed.address": "127.0.0.1", "DigestAuthenticationProvider.superDigest":
           generate_digest(SUPER)}  # fmt: skip


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def address_of(url):
    """Host and port."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def door_url(ensemble, sid=1):
    return f"http://127.0.0.1:{ensemble.members[sid].publishers.feed_port}"


async def until(condition):
    """The bounded poll that others use; the condition may be a coroutine function."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.01)


async def wait_door(http, url):
    """Until it is ready."""

    async def is_ready():
        async with http.get(url + "/ready") as answer:
            return answer.status == 200

    await until(is_ready)


@asynccontextmanager
async def served(**options):
    """One server with a door, a client of it, and a client of the door."""
    given = OPTIONS | {key.replace("_", "."): value for key, value in options.items()}
    async with AsyncEnsemble(1, options=given) as ensemble, aiohttp.ClientSession() as http:
        url = door_url(ensemble)
        await wait_door(http, url)
        async with ensemble.client() as client:
            yield ensemble, client, http, url


async def read_rows(http, url, until, headers=None, params=None):
    """Rows of an NDJSON stream up to the first for which ``until`` holds."""
    rows = []
    async with asyncio.timeout(WITHIN_S):
        given = {"Accept": "application/x-ndjson"} | (headers or {})
        async with http.get(url + "/feed", headers=given, params=params or {}) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                rows.append(json.loads(line))
                if until(rows[-1]):
                    return rows
    raise AssertionError(rows)


def is_bookmark(row):
    return "bookmark" in row


def paths_of(rows):
    changes = [change for row in rows for change in row.get("changes", ())]
    return [change["path"] for change in changes if "path" in change]


async def poll(http, url, headers=None, **params):
    async with (
        asyncio.timeout(WITHIN_S),
        http.get(url + "/feed", params={"format": "poll", **params}, headers=headers) as answer,
    ):
        return answer.status, await answer.json(), answer.headers

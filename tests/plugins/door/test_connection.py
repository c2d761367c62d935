"""The door of real servers, asked by real clients: what it gives, and what it refuses."""

import asyncio
import json
import socket

import aiohttp
import pytest
from tests.plugins.door.doors import (
    SUPER,
    WITHIN_S,
    address_of,
    basic,
    is_bookmark,
    paths_of,
    poll,
    read_rows,
    served,
    until,
    wait_door,
)

from zabra.auth.schemes import generate_digest
from zabra.plugins.door.connection import OTHERS_MAX
from zabra.proto import codes
from zabra.proto.records import ACL, Id

MINE = [ACL(codes.PERM_ALL, Id("digest", generate_digest("me:pw")))]
OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]


def test_the_formats_say_the_same():
    async def main():
        async with served() as (_, client, http, url):
            await client.create("/a", b"one")
            await client.set_data("/a", b"\xff")
            await client.create("/b")
            rows = await read_rows(http, url, is_bookmark, params={"since": "0", "path": "/a"})
            assert [row["op"] for row in rows[:-1]] == ["create", "setData"]
            status, polled, headers = await poll(http, url, since="0", path="/a")
            assert status == 200
            assert polled["txns"] == rows[:-1]
            assert polled["zxid"] == headers["X-Zabra-Zxid"] == rows[-1]["bookmark"]
            assert headers["X-Zabra-Lag-Txns"] == "0"
            async with http.ws_connect(url + "/feed?since=0&path=/a") as socket_:
                assert [await socket_.receive_json(timeout=WITHIN_S) for _ in rows] == rows
            accept = {"Accept": "text/event-stream"}
            async with http.get(url + "/feed?since=0&path=/a", headers=accept) as answer:
                assert answer.headers["Content-Type"] == "text/event-stream"
                events = []
                while len(events) < len(rows):
                    async with asyncio.timeout(WITHIN_S):
                        events.append(await answer.content.readuntil(b"\n\n"))
            lines = [event.decode().strip().splitlines() for event in events]
            fields = [dict(line.split(": ", 1) for line in some) for some in lines]
            assert [json.loads(event["data"]) for event in fields] == rows
            assert [event["id"] for event in fields] == [rows[0]["zxid"], rows[1]["zxid"], polled["zxid"]]
            assert [event.get("event") for event in fields] == [None, None, "bookmark"]

    asyncio.run(main())


def test_a_stream_goes_on_and_is_resumed():
    async def main():
        async with served() as (_, client, http, url):
            await client.create("/a")
            async with http.ws_connect(url + "/feed?path=/a&op=setData,delete") as socket_:
                greeting = await socket_.receive_json(timeout=WITHIN_S)
                first = await client.set_data("/a", b"1")
                await client.create("/a/b")
                await client.create("/other")
                await client.delete("/a/b")
                rows = [await socket_.receive_json(timeout=WITHIN_S) for _ in range(2)]
            assert [row["op"] for row in rows] == ["setData", "delete"]
            assert int(greeting["bookmark"], 16) < first.mzxid == int(rows[0]["zxid"], 16)
            resumed = await read_rows(
                http, url, is_bookmark, {"Last-Event-ID": rows[0]["zxid"]}, {"path": "/a", "since": "0"}
            )
            assert [row["op"] for row in resumed[:-1]] == ["create", "delete"]
            # A poll waits for what comes next, and says up to where nothing came.
            waiting = asyncio.ensure_future(poll(http, url, path="/a", op="setData"))

            async def is_waiting():
                async with http.get(url + "/healthz") as answer:
                    return (await answer.json())["subscribers"]

            await until(is_waiting)
            await client.set_data("/a", b"2")
            _, polled, _ = await waiting
            assert [txn["changes"][0]["data"] for txn in polled["txns"]] == ["2"]
            _, nothing, _ = await poll(http, url, since=polled["zxid"], wait="0.05")
            assert nothing["txns"] == []
            assert nothing["zxid"] == polled["zxid"]

    asyncio.run(main())


def test_a_snapshot_then_the_stream():
    async def main():
        async with served() as (_, client, http, url):
            for name in ("/a", "/a/x", "/a/y", "/b"):
                await client.create(name, name.encode())
            await client.set_data("/a/x", b"2")
            params = {"path": "/a", "snapshot": "true"}
            rows = await read_rows(http, url, is_bookmark, params=params)
            zxid = rows[-1]["bookmark"]
            assert rows[0] == {"snapshot": zxid, "path": "/a"}
            assert sorted((row["node"]["path"], row["node"]["data"]) for row in rows[1:4]) == [
                ("/a", "/a"),
                ("/a/x", "2"),
                ("/a/y", "/a/y"),
            ]
            assert rows[4] == {"snapshotEnd": zxid, "nodes": 3}
            # With a zxid that history reaches back to there is none.
            rows = await read_rows(http, url, is_bookmark, params=params | {"since": zxid})
            assert rows == [{"bookmark": zxid, "lagTxns": 0, "lagMs": 0}]
            # Nor nodes where there are none.
            rows = await read_rows(http, url, is_bookmark, params=params | {"path": "/none"})
            assert [next(iter(row)) for row in rows] == ["snapshot", "snapshotEnd", "bookmark"]

    asyncio.run(main())


def test_only_what_credentials_may_read():
    async def main():
        async with served() as (_, client, http, url):
            client.add_auth("digest", b"me:pw")
            await client.create("/open", b"")
            await client.create("/mine", b"secret", acl=MINE)
            await client.create("/mine/child", b"open below")
            await client.set_data("/mine", b"secret 2")
            await client.create("/turns", b"", acl=OPEN)
            await client.set_acl("/turns", MINE)
            await client.set_data("/turns", b"hidden")
            await client.set_acl("/turns", OPEN)
            await client.delete("/mine/child")
            await client.delete("/mine")
            await client.create("/mine", b"now open")

            async def shown(headers, **params):
                rows = await read_rows(http, url, is_bookmark, headers, {"since": "0", **params})
                return [
                    (change["op"], change["path"], "acl" in change)
                    for row in rows[:-1]
                    for change in row["changes"]
                    if "path" in change
                ]

            nobody = [
                ("create", "/open", True),
                ("create", "/mine/child", True),
                ("create", "/turns", True),
                # Who is shut out is told so, and not by what.
                ("setACL", "/turns", False),
                ("setACL", "/turns", True),
                ("delete", "/mine/child", False),
                ("create", "/mine", True),
            ]
            everything = [
                ("create", "/open", True),
                ("create", "/mine", True),
                ("create", "/mine/child", True),
                ("setData", "/mine", False),
                ("create", "/turns", True),
                ("setACL", "/turns", True),
                ("setData", "/turns", False),
                ("setACL", "/turns", True),
                ("delete", "/mine/child", False),
                ("delete", "/mine", False),
                ("create", "/mine", True),
            ]
            assert await shown(None) == nobody
            assert await shown(basic("me:wrong")) == nobody
            assert await shown({"X-Forwarded-For": "10.0.0.1"}) == nobody
            assert await shown(basic("me:pw")) == everything
            assert await shown(basic(SUPER)) == everything
            # Sessions are for the super user.
            mine = await read_rows(http, url, is_bookmark, basic("me:pw"), {"since": "0"})
            whole = await read_rows(http, url, is_bookmark, basic(SUPER), {"since": "0"})
            assert all("Session" not in row.get("op", "") for row in mine)
            assert any(row.get("op") == "createSession" for row in whole)

    asyncio.run(main())


def test_live_too():
    async def main():
        async with served() as (_, client, http, url):
            client.add_auth("digest", b"me:pw")
            await client.create("/mine")
            async with http.ws_connect(url + "/feed") as socket_:
                await socket_.receive_json(timeout=WITHIN_S)
                await client.create("/mine/later", b"", acl=MINE)
                await client.delete("/mine/later")
                await client.create("/end")
                row = await socket_.receive_json(timeout=WITHIN_S)
                assert row["changes"][0]["path"] == "/end"

    asyncio.run(main())


def test_snapshots_and_paths_that_may_not_be_read():
    async def main():
        async with served() as (_, client, http, url):
            client.add_auth("digest", b"me:pw")
            # Snapshots show what may be read, too.
            await client.create("/tree", b"")
            await client.create("/tree/mine", b"", acl=MINE)
            await client.create("/tree/open", b"")
            for headers, count in ((None, 2), (basic("me:pw"), 3)):
                rows = await read_rows(http, url, is_bookmark, headers, {"path": "/tree", "snapshot": "true"})
                assert rows[-2]["nodes"] == count
            # A node that may not be read cannot be asked for.
            await client.create("/private", b"", acl=MINE)
            for headers, status in ((None, 401), (basic("you:pw"), 403), (basic("me:pw"), 200)):
                async with http.get(url + "/feed?path=/private", headers=headers) as answer:
                    assert answer.status == status
                    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
                    if status != 200:
                        assert (await answer.json())["error"] == "noAuth"
            async with http.get(url + "/feed", headers={"Authorization": "Bearer x"}) as answer:
                assert answer.status == 401

    asyncio.run(main())


def test_the_address_is_the_peers():
    async def main():
        async with served() as (_, client, http, url):
            local = [ACL(codes.PERM_ALL, Id("ip", "127.0.0.0/8"))]
            far = [ACL(codes.PERM_ALL, Id("ip", "10.0.0.0/8"))]
            await client.create("/local", b"", acl=local)
            await client.create("/far", b"", acl=far)
            rows = await read_rows(http, url, is_bookmark, {"X-Forwarded-For": "10.0.0.1"}, {"since": "0"})
            assert paths_of(rows) == ["/local"]

    asyncio.run(main())


BAD_REQUESTS = [
    ("/feed?path=a", 400, "badArguments"),
    ("/feed?path=/a/", 400, "badArguments"),
    ("/feed?path=%00", 400, "badArguments"),
    ("/feed?path=%ff", 400, "badArguments"),
    ("/feed?op=destroy", 400, "badArguments"),
    ("/feed?since=soon", 400, "badArguments"),
    ("/feed?since=-1", 400, "badArguments"),
    ("/feed?since=0x8000000000000000", 400, "badArguments"),
    ("/feed?since=1&since=2", 400, "badArguments"),
    ("/feed?format=xml", 400, "badArguments"),
    ("/feed?wait=forever&format=poll", 400, "badArguments"),
    ("/feed?limit=0&format=poll", 400, "badArguments"),
    ("/feed?snapshot=1", 400, "badArguments"),
    ("/feed?snapshot=true&format=poll", 400, "badArguments"),
    ("/feed?unknown=1", 400, "badArguments"),
    ("/feed?" + "&".join(["op=create"] * 60), 400, "badArguments"),
    ("/feed?path=/" + "a" * 9000, 414, "tooLarge"),
    ("/ready?maxLagMs=few", 400, "badArguments"),
    ("/nothing", 404, "noPage"),
]


def test_bad_requests_get_clear_answers_and_harm_nothing():
    async def main():
        async with served() as (_, client, http, url):
            for target, status, error in BAD_REQUESTS:
                async with http.get(aiohttp.client.URL(url + target, encoded=True)) as answer:
                    body = await answer.json()
                    assert (answer.status, body["error"]) == (status, error), (target, body)
                    assert body["message"]
            async with http.post(url + "/feed", data=b"x" * 100) as answer:
                assert answer.status == 405
            for raw, status in RAW_REQUESTS:
                assert (await ask_raw(url, raw)).startswith(b"HTTP/1.1 %d " % status), raw[:60]
            assert await client.create("/still") == "/still"
            rows = await read_rows(http, url, is_bookmark, params={"since": "0"})
            assert paths_of(rows) == ["/still"]
            async with http.get(url + "/healthz") as answer:
                assert (await answer.json())["status"] == "ok"

    asyncio.run(main())


RAW_REQUESTS = [
    (b"nonsense\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"GET /feed HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    (b"GET /feed HTTP/1.1\r\n" + b"".join([b"X-%d: y\r\n" % n for n in range(3000)]), 431),
    (b"GET /feed HTTP/1.0\r\n\r\n", 400),
    (b"GET /feed HTTP/1.1\r\n\r\n", 400),
    (b"GET /feed HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400),
    (
        b"GET /feed HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://evil"
        b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        403,
    ),
    (b"GET /feed HTTP/1.1\r\nHost: a\r\nAuthorization: Basic !!!\r\n\r\n", 401),
]


async def ask_raw(url, raw):
    """Bytes for bytes."""
    host, port = address_of(url)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(raw)
        async with asyncio.timeout(WITHIN_S):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


def test_a_reader_that_takes_nothing_is_cut_and_others_are_not():
    async def main():
        async with served(feed_slowReaderMs="1000", feed_bufferBytes="20000") as (_, client, http, url):
            await client.create("/a")
            host, port = address_of(url)
            # (Small windows, so that little disappears in the kernel.)
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect((host, port))
            slow.sendall(b"GET /feed?path=/a HTTP/1.1\r\nHost: a\r\n\r\n")
            async with http.ws_connect(url + "/feed?path=/a") as good:
                await good.receive_json(timeout=WITHIN_S)
                datas = []

                async def take_all():
                    # All the while: one that stops reading would be cut as well.
                    while True:
                        datas.append((await good.receive_json())["changes"][0]["data"])

                cut = sent = 0
                async with asyncio.timeout(WITHIN_S):
                    taking = asyncio.create_task(take_all())
                    while not cut:
                        for _ in range(20):
                            await client.set_data("/a", b"%06d" % sent + b"x" * 20_000)
                            sent += 1
                        async with http.get(url + "/healthz") as answer:
                            cut = (await answer.json())["cut"]
                    while len(datas) < sent and not taking.done():
                        await asyncio.wait([taking], timeout=0.01)
                taking.cancel()
                assert [int(data[:6]) for data in datas] == list(range(sent))
            slow.close()

    asyncio.run(main())


def test_one_that_was_slow_for_a_while_misses_nothing():
    async def main():
        async with served(feed_bufferBytes="10000") as (_, client, http, url):
            await client.create("/a")
            host, port = address_of(url)
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (host, port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
            writer.write(b"GET /feed?path=/a HTTP/1.1\r\nHost: a\r\nAccept: application/x-ndjson\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            sent = fell_behind = 0
            async with asyncio.timeout(WITHIN_S):
                while not fell_behind:
                    for _ in range(50):
                        await client.set_data("/a", b"%06d" % sent + b"x" * 20_000)
                        sent += 1
                    async with http.get(url + "/healthz") as answer:
                        fell_behind = (await answer.json())["fellBehind"]
            body = b""
            async with asyncio.timeout(WITHIN_S):
                while body.count(b'"op":"setData","path"') < sent:
                    body += await reader.read(1 << 20)
            numbers = [int(part[:6]) for part in body.split(b'"data":"')[1:]]
            assert numbers == list(range(sent))
            writer.close()

    asyncio.run(main())


def test_a_flood_of_subscribers_is_bounded():
    async def main():
        async with served(feed_maxSubscribers="5") as (_, client, _, url):
            host, port = address_of(url)
            ask = b"GET /feed HTTP/1.1\r\nHost: a\r\n\r\n"
            streams = [await asyncio.open_connection(host, port) for _ in range(5)]
            for reader, writer in streams:
                writer.write(ask)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            for _ in range(10):
                head = await ask_raw(url, ask)
                assert head.startswith(b"HTTP/1.1 503")
                assert b"Retry-After" in head
            # And those who connect and ask for nothing: few are borne, the others are cut without a word.
            idle = [await asyncio.open_connection(host, port) for _ in range(80)]
            ends = [asyncio.ensure_future(reader.read(1)) for reader, _ in idle]
            await until(lambda: sum(end.done() for end in ends) >= 80 - OTHERS_MAX)
            assert {end.result() for end in ends if end.done()} == {b""}
            for _, writer in idle:
                writer.close()
            await asyncio.gather(*ends)
            await client.create("/a")
            for reader, writer in streams:
                async with asyncio.timeout(WITHIN_S):
                    await reader.readuntil(b'"path":"/a"')
                writer.close()
            # Those that were there have gone: there is room again.

            async def has_room():
                return (await ask_raw(url, ask)).startswith(b"HTTP/1.1 200")

            await until(has_room)

    asyncio.run(main())


def test_compacted_is_said_with_the_oldest():
    async def main():
        options = {"snapCount": "20", "autopurge.snapRetainCount": "3", "fsync.warningthresholdms": "9999"}
        async with served(**options) as (ensemble, client, http, url):
            await client.create("/a")
            before = (await client.set_data("/a", b"0")).mzxid
            for number in range(5):
                for _ in range(60):
                    await client.set_data("/a", b"%d" % number)
            store = ensemble.members[1].running.store

            async def has_snapshots():
                await client.set_data("/a", b"more")
                return len(store.snaps.files()) >= 5

            await until(has_snapshots)
            await asyncio.to_thread(store.purge, 3)
            await asyncio.to_thread(kill_door, ensemble.members[1])
            await wait_door(http, url)
            status, body, _ = await poll(http, url, basic(SUPER), since=hex(before))
            assert (status, body["error"]) == (410, "compacted")
            oldest = int(body["oldest"], 16)
            assert before < oldest
            status, body, _ = await poll(http, url, basic(SUPER), since=hex(oldest - 1))
            assert status == 200
            assert body["txns"][0]["zxid"] == hex(oldest)
            # Where that is wanted, a snapshot takes its place.
            rows = await read_rows(
                http, url, is_bookmark, params={"path": "/a", "since": hex(before), "snapshot": "true"}
            )
            assert [next(iter(row)) for row in rows] == ["snapshot", "node", "snapshotEnd", "bookmark"]

    asyncio.run(main())


def kill_door(member):
    """The process of its door dies; the server starts another."""
    process = member.publishers.door.process
    process.kill()
    process.wait()


@pytest.mark.parametrize("tool", ["curl"])
def test_what_the_readme_says(tool):
    async def main():
        async with served() as (_, client, _, url):
            await client.create("/config", b"1")
            process = await asyncio.create_subprocess_exec(
                tool, "-sN", f"{url}/feed?path=/config&since=0", stdout=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(WITHIN_S):
                event = await process.stdout.readuntil(b"\n\n")
            process.kill()
            await process.wait()
            assert event.startswith(b"id: 0x")
            assert json.loads(event.split(b"data: ")[1])["changes"][0]["path"] == "/config"

    asyncio.run(main())

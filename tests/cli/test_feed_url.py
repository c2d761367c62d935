"""Reading a door with the standard library: over broken connections, and what is said of mistakes."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.plugins.helpers import create

from zabra.cli.feed_url import FeedError, FeedUrl, credentials
from zabra.cli.main import main
from zabra.plugins.changes import committed_txn
from zabra.plugins.feed import Compacted
from zabra.plugins.jsontext import dump, txn_object


class FakeDoor:
    """Answers each request by the next of ``answers``: (status, rows, whether the end is cut)."""

    def __init__(self, answers):
        self.asked = []
        self.headers = []
        outer = self
        waiting = list(answers)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked.append(parse_qs(urlsplit(self.path).query))
                outer.headers.append(self.headers)
                status, rows, is_cut = waiting.pop(0)
                self.send_response(status)
                body = "".join([dump(row) + "\n" for row in rows]).encode()
                if is_cut:
                    body = body[:-5]
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                else:
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                self.close_connection = True

            def log_message(self, format, *arguments):
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def txn(zxid):
    return txn_object(committed_txn(create(zxid, f"/n{zxid}")))


def bookmark(zxid):
    return {"bookmark": hex(zxid), "lagTxns": 0, "lagMs": 0}


def test_it_goes_on_where_it_was():
    paused = []
    answers = [
        (200, [txn(1), txn(2), txn(3)], True),
        (503, [{"error": "starting", "message": "not yet"}], False),
        (200, [bookmark(5)], False),
        (200, [txn(6), bookmark(6)], False),
    ]
    with FakeDoor(answers) as door:
        said = []
        feed = FeedUrl(door.url, "/", ["create"], 0, say=said.append)
        rows = []
        for row, _ in feed.rows(True, paused.append):
            rows.append(row)
            if row.get("bookmark") == "0x6":
                break
    assert [row["zxid"] for row in rows if "zxid" in row] == ["0x1", "0x2", "0x6"]
    assert [asked["since"] for asked in door.asked] == [["0x0"], ["0x2"], ["0x2"], ["0x5"]]
    assert door.asked[0] == {"path": ["/"], "op": ["create"], "since": ["0x0"]}
    assert len(paused) == len(said) == 3
    assert any("not yet" in text for text in said)
    assert feed.since == 6


def test_credentials(tmp_path):
    file = tmp_path / "auth"
    file.write_text("me:pw\n")
    assert credentials(f"@{file}") == "me:pw"
    assert credentials(None) is None
    for bad in ("me", f"@{tmp_path}/none"):
        with pytest.raises(FeedError, match="--auth"):
            credentials(bad)
    for url, auth, wanted in (
        ("http://a%40b:p%3Aw@127.0.0.1:{}", None, "YUBiOnA6dw=="),
        ("http://x:y@127.0.0.1:{}/feed/", "me:pw", "bWU6cHc="),
        ("http://127.0.0.1:{}", None, None),
    ):
        with FakeDoor([(200, [bookmark(1)], False)]) as door:
            feed = FeedUrl(url.format(door.server.server_port), "/", [], None, auth=auth)
            assert list(feed.rows(False))
            header = door.headers[0]["Authorization"]
            assert header == (None if wanted is None else f"Basic {wanted}")


@pytest.mark.parametrize("url", ["ftp://a", "a:8081", "http://", "http://a:port"])
def test_urls_that_are_none(url):
    with pytest.raises(FeedError, match="--url"):
        FeedUrl(url, "/", [], None)


def run(door, *arguments):
    return main(["watch", "--url", door.url, "--no-follow", *arguments])


def test_the_command(capsys):
    node = {"path": "/a", "data64": "/w==", "version": 2, "acl": [], "owner": "0x7", "czxid": "0x1",
            "mzxid": "0x2"}  # fmt: skip
    rows = [{"snapshot": "0x3", "path": "/a"}, {"node": node}, {"snapshotEnd": "0x3", "nodes": 1}, txn(4),
            {"behind": "0x4"}, bookmark(4)]  # fmt: skip
    with FakeDoor([(200, rows, False)] * 3) as door:
        assert run(door, "/a", "--snapshot") == 0
        assert capsys.readouterr().out.splitlines() == [
            "                         0x3  snapshot  /a",
            "                         0x2  node           /a  '\\\\xff'  version 2  owner 0x7",
            "                         0x3  1 nodes",
            "2023-11-14 22:13:20.000  0x4  create         /n4  'x'",
        ]
        assert run(door, "--format", "json", "--since", "3") == 0
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows[:4]
        assert run(door, "--color", "always") == 0
        assert "\x1b[32mcreate" in capsys.readouterr().out
    assert door.asked[0] == {"path": ["/a"], "snapshot": ["true"]}
    assert door.asked[1]["since"] == ["0x3"]


@pytest.mark.parametrize(
    ("status", "row", "code", "says"),
    [
        (410, {"error": "compacted", "since": "0x1", "oldest": "0x9"}, 3, "oldest = 0x9; --since 0"),
        (401, {"error": "noAuth", "message": "/a may not be read"}, 1, "/a may not be read (HTTP 401)"),
        (404, {}, 1, "Not Found (HTTP 404)"),
        (200, {"error": "compacted", "since": "0x1", "oldest": "0x9"}, 3, "compacted"),
    ],
)
def test_refusals(status, row, code, says, capsys):
    with FakeDoor([(status, [row], False)]) as door:
        assert run(door, "--since", "1") == code
    assert says in capsys.readouterr().err


def test_mistakes(capsys, tmp_path):
    assert main(["watch", "--url", "http://127.0.0.1:1", "--no-follow"]) == 1
    assert "refused" in capsys.readouterr().err
    assert main(["watch", "--data-dir", str(tmp_path), "--snapshot"]) == 1
    assert "--url" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["watch"])
    with pytest.raises(SystemExit):
        main(["watch", "--url", "http://a", "--data-dir", "b"])


def test_what_is_no_feed_is_tried_again_and_said():
    said = []
    with FakeDoor([(200, ["no feed"], False)] * 2) as door:
        feed = FeedUrl(door.url, "/", [], None, say=said.append)

        def stop_at_second(seconds):
            if len(said) == 2:
                raise Compacted(0, 0)

        with pytest.raises(Compacted):
            list(feed.rows(True, stop_at_second))
    assert "no feed" in said[0]

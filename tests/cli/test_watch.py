"""``zabra watch`` on a folder: what it prints, where it begins, what it says of mistakes."""

import json
import threading

import pytest
from tests.plugins.helpers import E1, create

from zabra.cli import watch
from zabra.cli.main import main
from zabra.runtime.os_disk import OsDisk
from zabra.storage.txnlog import FileTxnLog


@pytest.fixture
def log(tmp_path):
    (tmp_path / "version-2").mkdir()
    log = FileTxnLog(OsDisk(tmp_path), "version-2", preallocate_bytes=65536)
    log.open()
    yield log
    log.close()


def write(log, zxid, path, data=b"x"):
    log.append(zxid, create(zxid, path, data).raw)
    log.sync()


def run(folder, *arguments):
    return main(["watch", "--data-dir", str(folder), "--no-follow", *arguments])


def test_lines(log, tmp_path, capsys):
    write(log, E1 + 1, "/a", b"one")
    write(log, E1 + 2, "/b", b"\xff" * 100)
    write(log, E1 + 3, "/a/\x1bc", None)
    assert run(tmp_path, "--since", "0") == 0
    assert capsys.readouterr().out.splitlines() == [
        "2023-11-14 22:13:20.000  0x100000001  create         /a  'one'",
        "2023-11-14 22:13:20.000  0x100000002  create         /b  '" + "\\\\xff" * 60 + "'… 100 bytes",
        "2023-11-14 22:13:20.000  0x100000003  create         /a/\\u001bc  null",
    ]
    assert run(tmp_path / "version-2", "/a", "--since", "0x100000001", "--format", "json") == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["zxid"], row["changes"][0]["path"]) == ("0x100000003", "/a/\x1bc")
    assert run(tmp_path) == 0
    assert run(tmp_path, "--since", "0", "--op", "delete") == 0
    assert capsys.readouterr().out == ""


def test_follows(log, tmp_path):
    write(log, E1 + 1, "/before")
    seen = []
    paused = threading.Event()
    more = threading.Semaphore(0)

    def pause():
        paused.set()
        assert more.acquire(timeout=30)

    def follow():
        for txn in watch.read(OsDisk(tmp_path), None, pause):
            seen.append(txn.zxid)
            if len(seen) == 3:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    for zxid in (E1 + 2, E1 + 3, E1 + 4):
        assert paused.wait(30)
        paused.clear()
        write(log, zxid, f"/n{zxid}")
        log.roll()
        more.release()
    thread.join(30)
    assert seen == [E1 + 2, E1 + 3, E1 + 4]


def test_mistakes(log, tmp_path, capsys):
    log.continue_from(E1 + 5)
    write(log, E1 + 6, "/a")
    for folder, arguments, code, text in (
        (tmp_path / "nowhere", [], 1, "has no folder version-2"),
        (tmp_path, ["--since", "yesterday"], 1, "--since yesterday: not a zxid"),
        (tmp_path, ["--since=-1"], 1, "--since -1: not a zxid"),
        (tmp_path, ["a"], 1, "'a' is not a path"),
        (tmp_path, ["--since", "0x100000002"], 3, "oldest = 0x100000006; --since 0 begins there"),
    ):
        assert run(folder, *arguments) == code
        assert text in capsys.readouterr().err

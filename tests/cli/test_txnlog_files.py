"""``zabra txnlog`` on folders that Apache ZooKeeper wrote, and on damaged ones."""

import json
from pathlib import Path

import pytest
from tests.cli.java_files import Output, damage, log_of

from zabra.storage import txnlog_format as fmt


def test_dump_shows_every_kind_of_txn(java_folder: Path, zabra: Output) -> None:
    assert zabra.run("txnlog", "dump", java_folder) == 0
    text = zabra.out
    assert "createSession timeOut=30000 digest 2,1371985504" in text
    assert 'create path=/app/ümlaut-日本 data="größe" acl=[world:anyone:cdrwa] ephemeral=false' in text
    assert "acl=[digest:anna:Wap/fLaD11BLJBT+7fkDcVxaT7c=:cdrwa]" in text
    assert 'setData path=/app/config data="value 7" version=8' in text
    assert "delete path=/app/eph0 digest" in text
    assert "multi create path=/app/config/multi4" in text
    assert "; check path=/app/config version=" in text
    assert "…(10240 bytes)" in text
    assert "log.25: 33 txns shown" in text
    zabra.run("txnlog", "dump", "--full", log_of(java_folder).parent / "log.1")
    assert "bytes)" not in zabra.out


def test_dump_as_json_is_one_object_per_line(java_folder: Path, zabra: Output) -> None:
    assert zabra.run("txnlog", "dump", "--json", "--from", "0x30", "--to", "0x32", java_folder) == 0
    rows = [json.loads(line) for line in zabra.out.splitlines()]
    assert [row["zxid"] for row in rows] == ["0x30", "0x31", "0x32"]
    assert all({"type", "session", "cxid", "time"} <= row.keys() for row in rows)
    zabra.run("txnlog", "dump", "--json", java_folder)
    multi = next(row for row in map(json.loads, zabra.out.splitlines()) if row["type"] == "multi")
    assert [part["type"] for part in multi["txns"]] == ["create", "check", "setData"]


def test_verify_a_whole_folder(java_folder: Path, zabra: Output) -> None:
    assert zabra.run("txnlog", "verify", java_folder) == 0
    assert "log.25: 33 txns, 0x25 to 0x45, 3531 bytes and 12869 of padding" in zabra.out
    (java_folder / "version-2" / "log.46").unlink()
    assert zabra.run("txnlog", "verify", java_folder) == 1
    assert "txns between 0x45 and 0x65 are missing" in zabra.out


@pytest.mark.parametrize(
    ("at", "content", "said"),
    [
        (100, b"\xff", "byte 16: damaged after 0 txns"),
        (3530, b"C", "byte 3530: the end byte of a txn is wrong"),
        (3460, b"\xff\xff", "byte 3443: damaged after 32 txns"),
        (3072, bytes(459), "torn tail after 28 txns: the last write was cut short"),
        (0, b"X", "invalid magic number"),
    ],
)
def test_verify_names_the_damage(
    at: int, content: bytes, said: str, java_folder: Path, zabra: Output
) -> None:
    damage(log_of(java_folder), at, content)
    assert zabra.run("txnlog", "verify", log_of(java_folder)) == 1
    assert said in zabra.out


def test_dump_of_a_damaged_log_shows_what_is_before_and_fails(java_folder: Path, zabra: Output) -> None:
    damage(log_of(java_folder), 2000, b"\xff\xff")
    assert zabra.run("txnlog", "dump", log_of(java_folder)) == 1
    assert "zxid 0x25 " in zabra.out
    assert "checksum" in zabra.err or "valid one follows" in zabra.err


def test_repair_recalculates_checksums_into_another_file(java_folder: Path, zabra: Output) -> None:
    log = log_of(java_folder)
    good = log.read_bytes()
    damage(log, 16, b"\0\0\0\0\1\2\3\4")
    assert zabra.run("txnlog", "repair", "-y", log) == 0
    assert "byte 16: checksum error" in zabra.out
    assert "33 txns, 1 checksums recalculated" in zabra.out
    fixed = Path(f"{log}.fixed")
    assert fixed.read_bytes() == good.rstrip(b"\0")
    assert zabra.run("txnlog", "repair", "-y", log) == 1
    assert "exists already" in zabra.err
    other = java_folder / "elsewhere"
    assert zabra.run("txnlog", "repair", "-y", log, "--output", other) == 0
    assert other.read_bytes() == fixed.read_bytes()


def test_repair_asks(
    java_folder: Path, zabra: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(java_folder)
    damage(log, 16, b"\0\0\0\0\1\2\3\4")
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert zabra.run("txnlog", "repair", log) == 1
    assert "stopped" in zabra.err
    assert not Path(f"{log}.fixed").exists()
    monkeypatch.setattr("builtins.input", lambda question: "Yes")
    assert zabra.run("txnlog", "repair", log) == 0


def test_repair_leaves_out_a_torn_tail(java_folder: Path, zabra: Output) -> None:
    log = log_of(java_folder)
    log.write_bytes(log.read_bytes()[:3500])
    assert zabra.run("txnlog", "repair", log) == 0
    assert "32 txns, 0 checksums" in zabra.out
    assert "is no entry, and is left out" in zabra.err


def test_chop_keeps_up_to_the_zxid(java_folder: Path, zabra: Output) -> None:
    log = log_of(java_folder)
    assert zabra.run("txnlog", "chop", log, "0x30") == 0
    chopped = Path(f"{log}.chopped").read_bytes()
    found = fmt.scan(chopped[16:], True)
    assert (found.zxids[0], found.zxids[-1], found.stop) == (0x25, 0x30, fmt.END)
    assert log.read_bytes().startswith(chopped)


@pytest.mark.parametrize(
    ("zxid", "said"),
    [("0x45", "nothing to chop"), ("0x24", "does not contain zxid 0x24"), ("0x99", "does not contain")],
)
def test_chop_refuses_what_makes_no_sense(
    zxid: str, said: str, java_folder: Path, zabra: Output
) -> None:
    assert zabra.run("txnlog", "chop", log_of(java_folder), zxid) == 1
    assert said in zabra.err
    assert not Path(f"{log_of(java_folder)}.chopped").exists()


def test_bad_arguments(java_folder: Path, zabra: Output, tmp_path: Path) -> None:
    assert zabra.run("txnlog", "dump", tmp_path / "none") == 1
    assert "no such file" in zabra.err
    (tmp_path / "empty").mkdir()
    assert zabra.run("txnlog", "verify", tmp_path / "empty") == 1
    assert "no txn logs here" in zabra.err
    with pytest.raises(SystemExit):
        zabra.run("txnlog", "chop", log_of(java_folder), "twelve")
    assert "'twelve' is not a zxid" in zabra.capsys.readouterr().err

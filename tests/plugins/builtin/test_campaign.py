"""A small kill campaign with all built-ins at once; large ones are run by hand (docs/publishers.md)."""

import random

import pytest
from tests.interop.members import ROOT
from tests.plugins.campaign.committed import Committed, judge_rows
from tests.plugins.campaign.run import LEDGER, Campaign, table
from tests.plugins.campaign.targets import DoorTarget, JsonlTarget, MirrorTarget, ServerTarget
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import Script

from zabra.plugins.jsontext import hex_of


@pytest.mark.slow
def test_whatever_is_killed_each_target_holds_what_was_committed(targets, place, tmp_path):
    chosen = {
        "door": DoorTarget(tmp_path / "door"),
        "jsonl": JsonlTarget(tmp_path),
        "zookeeper": MirrorTarget(tmp_path, apache=False),
    }
    chosen |= {
        name: ServerTarget(name, target, place, is_own=False) for name, target in kinds.get_all().items()
    }
    run = Campaign(tmp_path, chosen, writers=2, every_s=0.5, seed=random.randrange(1 << 30))
    try:
        for target in chosen.values():
            target.start()
        rows = run.run(2500)
    finally:
        for target in chosen.values():
            target.close()
    for row in rows:
        assert row["txns"] >= 2500
        assert row["published"] > 1000
        # Nobody serves a file.
        killed = [
            count for kind, count in row["kills"].items() if (row["publisher"], kind) != ("jsonl", "target")
        ]
        assert min(killed) >= 1, row


def judged(rows, exact=False, has_refusals=True):
    script = Script().everything()
    log = Committed([entry.raw for entry in script.log])
    return judge_rows(iter(rows(script.rows)), log, exact, has_refusals)


def test_what_is_wrong_is_found():
    assert judged(lambda rows: rows, exact=True)["duplicates"] == 0
    assert judged(lambda rows: [*rows[:5], *rows[3:]])["duplicates"] == 2
    for wrong, text in (
        (lambda rows: rows[1:], "a gap"),
        (lambda rows: [*rows[:5], *rows[6:]], "a gap"),
        (lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]], "a gap"),
        (lambda rows: rows[:-1], "ends at"),
        (lambda rows: [rows[0] | {"cxid": 99}, *rows[1:]], "99"),
        (lambda rows: [*rows, {"snapshotEnd": hex_of(1 << 32)}], "behind"),
    ):
        with pytest.raises(AssertionError, match=text):
            judged(wrong)
    with pytest.raises(AssertionError, match="duplicates"):
        judged(lambda rows: [*rows[:5], *rows[3:]], exact=True)


def test_a_snapshot_stands_for_what_is_before_it():
    def from_a_snapshot(rows):
        return [{"snapshot": rows[5]["zxid"]}, {"snapshotEnd": rows[5]["zxid"], "nodes": 9}, *rows[6:]]

    figures = judged(from_a_snapshot, exact=True)
    assert (figures["snapshots"], figures["published"]) == (1, len(Script().everything().log) - 6)


def test_the_ledger_is_a_table():
    kills = '{"observer": 2, "publisher": 3, "target": 4, "leader": 5}'
    line = '{"publisher": "nats", "voters": "Zabra", "txns": 1000000, "published": 7, "duplicates": 0,'
    line += f' "snapshots": 0, "minutes": 1.5, "kills": {kills}}}'
    assert table([line, line]).splitlines()[-1] == "| `nats` | Zabra | 2 | 2,000,000 | 4, 6, 8, 10 | 0 | 3 |"


def test_the_documentation_has_the_ledger():
    assert table(LEDGER.read_text().splitlines()) in (ROOT / "docs" / "publishers.md").read_text()

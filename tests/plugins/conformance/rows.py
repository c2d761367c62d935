"""What a target tells in the words of jsontext, for the judge."""

from collections.abc import Iterable

from zabra.plugins.conformance import Told, ToldSnapshot, json_data, told_json


def judged_rows(rows: Iterable[dict]) -> list[Told | ToldSnapshot]:
    """Txns, and snapshots that are whole."""
    log: list[Told | ToldSnapshot] = []
    nodes = {}
    for row in rows:
        if "zxid" in row:
            log.append(told_json(row))
        elif "snapshot" in row:
            nodes = {}
        elif "node" in row:
            nodes[row["node"]["path"]] = json_data(row["node"])
        else:
            log.append(ToldSnapshot(int(row["snapshotEnd"], 16), nodes))
    return log

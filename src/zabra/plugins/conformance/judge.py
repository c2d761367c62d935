"""What a target must hold: the committed log in order, whole, without gaps; or the state that it makes."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zabra.plugins.jsontext import hex_of
from zabra.plugins.publisher import Change, CommittedTxn


class ConformanceError(AssertionError):
    """A publisher does not do what it must; the text says what it did, and when."""


@dataclass(frozen=True, slots=True)
class Told:
    """One txn as the target holds it.  ``changes``: (index, op, path, data) of each."""

    zxid: int
    changes: tuple[tuple[int, str, str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class ToldSnapshot:
    """One whole snapshot as the target holds it: data by path."""

    zxid: int
    nodes: Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Published:
    """What a target holds.

    A target that is given txns has ``log``: everything that reached it, in the order in which it did; a
    snapshot takes the place of what is before it.  A target that holds state has ``nodes`` (data by path)
    and ``zxid``, as of which they are; -1 for a state that does not count yet (a snapshot that is not whole).
    Either may be None.
    """

    log: Sequence[Told | ToldSnapshot] | None = None
    nodes: Mapping[str, bytes | None] | None = None
    zxid: int = -1


def told(txn: CommittedTxn) -> Told:
    """A txn in the words of the judge."""
    return Told(txn.zxid, tuple([told_change(change) for change in txn.changes]))


def told_change(change: Change) -> tuple[int, str, str, bytes | None]:
    """A change in the words of the judge."""
    return change.index, change.op, change.path, change.data


def told_json(row: Mapping[str, Any]) -> Told:
    """The same, for a target that was given ``jsontext.txn_object``."""
    changes = [(one["index"], one["op"], one.get("path", ""), json_data(one)) for one in row["changes"]]
    return Told(int(row["zxid"], 16), tuple(changes))


def json_data(row: Mapping[str, Any]) -> bytes | None:
    """The data of a change or node in JSON; None where it has none."""
    if "data64" in row:
        return base64.b64decode(row["data64"])
    data = row.get("data")
    return None if data is None else str(data).encode("utf-8")


@dataclass(slots=True)
class Truth:
    """What was committed and is wanted: the txns, and the nodes as of every committed zxid."""

    txns: list[Told] = field(default_factory=list)
    nodes: dict[int, Mapping[str, bytes | None]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The zxid of the last txn that is wanted; 0 for none."""
        return self.txns[-1].zxid if self.txns else 0


def judge(published: Published, truth: Truth, exactly_once: bool, complete: bool) -> None:
    """Raises ConformanceError.  ``complete``: everything must have arrived by now."""
    if published.log is None and published.nodes is None:
        raise ConformanceError("the subject shows neither a log nor nodes: there is nothing to judge by")
    if published.log is not None:
        _judge_log(published.log, truth, exactly_once, complete)
    if published.nodes is not None:
        _judge_nodes(published.nodes, published.zxid, truth, complete)


def _judge_log(log: Sequence[Told | ToldSnapshot], truth: Truth, exactly_once: bool, complete: bool) -> None:
    places = {txn.zxid: place for place, txn in enumerate(truth.txns)}
    reached = -1
    farthest = -1
    for one in log:
        if isinstance(one, ToldSnapshot):
            reached = _judge_snapshot(one, truth, farthest)
        else:
            if one.zxid not in places:
                raise ConformanceError(f"the target holds {hex_of(one.zxid)}, which was never committed")
            place = places[one.zxid]
            _judge_txn(one, truth.txns[place])
            if place > reached + 1:
                _complain_of_gap(truth, reached, place)
            if place <= farthest and exactly_once:
                raise ConformanceError(
                    f"the target holds {hex_of(one.zxid)} twice, and exactly once was claimed"
                )
            reached = place
        farthest = max(farthest, reached)
    if complete and reached + 1 < len(truth.txns):
        missing = f"{hex_of(truth.txns[reached + 1].zxid)} to {hex_of(truth.last)}"
        raise ConformanceError(f"the target ends at {_name(truth, reached)}: {missing} never arrived")


def _judge_txn(one: Told, wanted: Told) -> None:
    if one.changes == wanted.changes:
        return
    if set(one.changes) < set(wanted.changes):
        text = f"{len(one.changes)} of its {len(wanted.changes)} changes: it was split"
    else:
        text = f"other changes than were committed: {one.changes} for {wanted.changes}"
    raise ConformanceError(f"the target holds {hex_of(one.zxid)} with {text}")


def _complain_of_gap(truth: Truth, reached: int, place: int) -> None:
    missing = [hex_of(txn.zxid) for txn in truth.txns[reached + 1 : place]]
    raise ConformanceError(
        f"after {_name(truth, reached)} the target was given {hex_of(truth.txns[place].zxid)}: "
        f"{', '.join(missing)} lost, or late"
    )


def _judge_snapshot(one: ToldSnapshot, truth: Truth, farthest: int) -> int:
    """Returns the place of the last txn that it includes."""
    if one.zxid not in truth.nodes:
        raise ConformanceError(f"the snapshot is of {hex_of(one.zxid)}, which was never committed")
    _compare("the snapshot", one.nodes, truth.nodes[one.zxid], one.zxid)
    place = -1
    for number, txn in enumerate(truth.txns):
        if txn.zxid <= one.zxid:
            place = number
    if place < farthest:
        raise ConformanceError(
            f"the target was given a snapshot of {hex_of(one.zxid)} when it was at {_name(truth, farthest)}"
        )
    return place


def _judge_nodes(nodes: Mapping[str, bytes | None], zxid: int, truth: Truth, complete: bool) -> None:
    if zxid >= 0 and zxid not in truth.nodes:
        raise ConformanceError(f"the target says it is at {hex_of(zxid)}, which was never committed")
    if zxid >= 0:
        _compare("the target's state", nodes, truth.nodes[zxid], zxid)
    if complete and zxid < truth.last:
        raise ConformanceError(f"the target's state ends at {hex_of(zxid)}, the log at {hex_of(truth.last)}")


def _compare(
    what: str, found: Mapping[str, bytes | None], wanted: Mapping[str, bytes | None], zxid: int
) -> None:
    if found == wanted:
        return
    for path in sorted({**found, **wanted}):
        if path not in found:
            text = f"lacks {path}"
        elif path not in wanted:
            text = f"has {path}, which is not there"
        elif found[path] != wanted[path]:
            text = f"has {found[path]!r} in {path}, not {wanted[path]!r}"
        else:
            continue
        raise ConformanceError(f"{what}, said to be as of {hex_of(zxid)}, {text}")


def _name(truth: Truth, place: int) -> str:
    return hex_of(truth.txns[place].zxid) if place >= 0 else "the beginning"

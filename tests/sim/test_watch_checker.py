"""Lost, late, doubled and invented watch events are seen."""

import pytest
from tests.sim import short_run

from zabra.proto import codes
from zabra.proto.txn import TxnEntry
from zabra.sim.histories import ANSWERED, EVENT, Entry, History
from zabra.sim.model import OPEN, TO_BOTH, TO_CHILD, TO_DATA, Event
from zabra.sim.watch_checker import Standing


def event_places(history: History) -> list[int]:
    """Where events stand that have a reply of the same client behind them."""
    out = []
    for i, entry in enumerate(history.entries):
        rest = history.entries[i + 1 : i + 60]
        if entry.kind == EVENT and entry.zxid > 0:
            if any(e.kind == ANSWERED and e.client == entry.client for e in rest):
                out.append(i)
    return out


def lose_an_event(chain: list[TxnEntry], history: History) -> None:
    """An event never arrives."""
    del history.entries[event_places(history)[0]]


def double_an_event(chain: list[TxnEntry], history: History) -> None:
    """An event arrives twice."""
    place = event_places(history)[0]
    history.entries.insert(place, history.entries[place])


def invent_an_event(chain: list[TxnEntry], history: History) -> None:
    """An event arrives that nothing has caused."""
    place = event_places(history)[0]
    extra = Entry(EVENT, 1, history.entries[place].client)
    extra.event_type, extra.path, extra.zxid = codes.EVENT_NODE_DELETED, "/w/nothing", 5
    history.entries.insert(place, extra)


def wrong_type(chain: list[TxnEntry], history: History) -> None:
    """An event says something else than what happened."""
    history.entries[event_places(history)[0]].event_type = codes.EVENT_DATA_WATCH_REMOVED


def too_late(chain: list[TxnEntry], history: History) -> None:
    """An event arrives behind a reply that shows what it tells."""
    place = event_places(history)[0]
    event = history.entries.pop(place)
    behind = next(
        i
        for i, entry in enumerate(history.entries)
        if i >= place and entry.kind == ANSWERED and entry.client == event.client
    )
    history.entries.insert(behind + 1, event)


@pytest.mark.parametrize("tamper", [lose_an_event, double_an_event, invent_an_event, wrong_type, too_late])
def test_tampering_is_seen(tamper: short_run.Tamper) -> None:
    assert "watches" in short_run.rules(short_run.judged(tamper))


def standing(**tables: str) -> Standing:
    out = Standing()
    for name, path in tables.items():
        getattr(out, name)[path] = None
    return out


def test_one_shot_watches_fire_once_and_by_their_manager() -> None:
    changed = Event(codes.EVENT_NODE_DATA_CHANGED, "/a", TO_DATA, OPEN)
    children = Event(codes.EVENT_NODE_CHILDREN_CHANGED, "/a", TO_CHILD, OPEN)
    deleted = Event(codes.EVENT_NODE_DELETED, "/a", TO_BOTH, OPEN)
    watches = standing(data="/a")
    assert [watches.frames_for(changed), watches.frames_for(changed)] == [True, False]
    watches = standing(child="/a")
    assert [watches.frames_for(changed), watches.frames_for(children)] == [False, True]
    assert standing(child="/a").frames_for(deleted)
    assert standing(exist="/a").frames_for(deleted)


def test_lasting_watches_stay_and_recursive_ones_see_no_children_changed() -> None:
    watches = standing(recursive="/a")
    below = Event(codes.EVENT_NODE_CREATED, "/a/b/c", TO_DATA, OPEN)
    assert [watches.frames_for(below), watches.frames_for(below)] == [True, True]
    assert not watches.frames_for(Event(codes.EVENT_NODE_CHILDREN_CHANGED, "/a/b", TO_CHILD, OPEN))
    assert not watches.frames_for(Event(codes.EVENT_NODE_CREATED, "/ab", TO_DATA, OPEN))
    watches = standing(persistent="/a")
    assert watches.frames_for(Event(codes.EVENT_NODE_CHILDREN_CHANGED, "/a", TO_CHILD, OPEN))
    assert not watches.frames_for(below)

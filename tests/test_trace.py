"""Trace events and their tracers."""

from zabra.trace import ACTIONS, COMMIT, PROPOSAL, ListTracer, NullTracer, TraceEvent, Tracer


def emit(tracer: Tracer, event: TraceEvent) -> None:
    if tracer.enabled:
        tracer.event(event)


def test_event_reads_in_upstreams_words() -> None:
    event = TraceEvent(PROPOSAL, 3, {"zxid": 0x100000001, "type": "setData", "session": -1})
    assert str(event) == "3 proposal zxid=0x100000001 type=setData session=-0x1"


def test_events_compare_by_content() -> None:
    event = TraceEvent(COMMIT, 1, {"zxid": 2})
    assert event == TraceEvent(COMMIT, 1, {"zxid": 2})
    assert hash(event) == hash(TraceEvent(COMMIT, 1, {"zxid": 2}))
    assert event != TraceEvent(COMMIT, 2, {"zxid": 2})
    assert event != TraceEvent(PROPOSAL, 1, {"zxid": 2})
    assert event != TraceEvent(COMMIT, 1, {"zxid": 3})
    assert repr(event) == "TraceEvent('commit', 1, {'zxid': 2})"


def test_null_tracer_is_off_and_takes_events_all_the_same() -> None:
    tracer = NullTracer()
    assert not tracer.enabled
    tracer.event(TraceEvent(COMMIT, 1, {}))


def test_list_tracer_keeps_the_newest() -> None:
    tracer = ListTracer(limit=10)
    for zxid in range(25):
        emit(tracer, TraceEvent(COMMIT, 1, {"zxid": zxid}))
    kept = [event.fields["zxid"] for event in tracer.events]
    assert kept == list(range(25 - len(kept), 25))
    assert 5 <= len(kept) <= 10
    assert tracer.of(PROPOSAL) == []
    assert tracer.of(COMMIT) == tracer.events


def test_actions_are_documented() -> None:
    assert all(meaning for meaning in ACTIONS.values())
    assert COMMIT in ACTIONS

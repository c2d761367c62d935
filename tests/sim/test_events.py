"""Scheduler: order of time, then order of making."""

from zabra.sim.events import Scheduler


def test_events_happen_in_order_of_time_then_of_making() -> None:
    scheduler = Scheduler()
    seen: list[str] = []
    scheduler.at(20, seen.append, "late")
    scheduler.at(10, seen.append, "first")
    scheduler.at(10, seen.append, "second")
    scheduler.run_until(15)
    assert (seen, scheduler.now_us, scheduler.pending()) == (["first", "second"], 15, 1)
    scheduler.run_until(30)
    assert (seen, scheduler.steps) == (["first", "second", "late"], 3)


def test_the_past_is_now() -> None:
    scheduler = Scheduler()
    seen: list[int] = []
    scheduler.run_until(100)
    scheduler.at(50, seen.append, 1)
    assert scheduler.step()
    assert (seen, scheduler.now_us) == ([1], 100)
    assert not scheduler.step()


def test_run_while_stops_as_soon_as_it_can() -> None:
    scheduler = Scheduler()
    seen: list[int] = []
    for when in (10, 20, 30):
        scheduler.at(when, seen.append, when)
    assert scheduler.run_while(lambda: len(seen) < 2, 100)
    assert (seen, scheduler.now_us) == ([10, 20], 20)
    assert not scheduler.run_while(lambda: len(seen) < 9, 100)
    assert scheduler.now_us == 100

"""A short simulated run without faults, for tests that then tamper with what it left behind."""

import copy
import functools
from collections.abc import Callable

from zabra.proto.txn import TxnEntry, decode_txn
from zabra.sim import histories
from zabra.sim.checkers import HistoryChecker, Judgement
from zabra.sim.histories import History
from zabra.sim.options import Options
from zabra.sim.run import Run
from zabra.sim.watch_checker import WatchChecker


@functools.cache
def run() -> Run:
    """Three voters, an observer, four busy clients, eight simulated seconds, and nothing goes wrong."""
    options = Options()
    options.seed = 11
    options.voters, options.observers = 3, 1
    options.seconds = 8
    options.clients = 4
    options.think_ms = 40
    done = Run(options)
    report = done.execute()
    assert not report.failed, report.judgement.violations
    return done


def material() -> tuple[list[TxnEntry], History]:
    """A copy of the committed log and of the history."""
    done = run()
    chain = [decode_txn(entry.raw) for entry in done.monitor.chain]
    return chain, histories.load(histories.dump(done.cluster.history))


Tamper = Callable[[list[TxnEntry], History], None]


def judged(tamper: Tamper | None = None, **options: bool) -> Judgement:
    """The verdict on that run after ``tamper`` has been at it."""
    chain, history = material()
    if tamper is not None:
        tamper(chain, history)
    checker = HistoryChecker(chain, history, extended_types=True, **options)
    judgement = checker.check()
    if not judgement.violations:
        WatchChecker(checker.events, history, judgement).check(chain)
    return judgement


def rules(judgement: Judgement) -> list[str]:
    """Which rules were violated, each once."""
    return list({violation.rule: None for violation in judgement.violations})


__all__ = ["copy", "judged", "material", "rules", "run"]

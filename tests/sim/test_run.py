"""What a run does beside letting things happen."""

from zabra.sim.options import draw_options
from zabra.sim.run import Run


def test_a_jump_to_the_end_of_a_counter_waits_for_what_is_still_to_be_logged() -> None:
    # Here observers ask for session ids, and one has them before the txn is on its disk.
    options = draw_options(1001134)
    options.faults = []
    options.seconds = 1
    report = Run(options).execute()
    assert not report.failed, report.judgement.violations

"""Ensembles for ordinary code: what goes wrong, and what is left behind."""

from __future__ import annotations

import gc
import os
import resource
import threading
from pathlib import Path

import pytest

from zabra.testing import Ensemble


def test_options_that_make_no_sense_are_refused_and_leave_nothing_behind() -> None:
    before = threading.active_count()
    with pytest.raises(Exception, match="tickTime"), Ensemble(options={"tickTime": "soon"}):
        raise AssertionError("not reached")
    assert threading.active_count() == before


def open_files() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_nothing_is_left_behind() -> None:
    """CI runs a few cycles; ZABRA_CYCLES=1000 runs as many as are asked for."""
    cycles = int(os.environ.get("ZABRA_CYCLES", "15"))
    folders: list[Path] = []
    threads = files = objects = resident = 0
    for cycle in range(cycles + 5):
        if cycle == 5:
            # The first ones fill caches.
            gc.collect()
            threads, files = threading.active_count(), open_files()
            objects = len(gc.get_objects())
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with Ensemble(3, 1) as ensemble:
            folders.append(ensemble.members[1].folder.parent)
    gc.collect()
    grown = len(gc.get_objects()) - objects
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    print(f"{cycles} cycles: {grown} more objects, {grown_kb} KiB more resident at most")
    assert threading.active_count() == threads
    assert open_files() <= files
    assert not [folder for folder in folders if folder.exists()]
    assert grown < 40 * cycles, f"{grown} more objects after {cycles} cycles"

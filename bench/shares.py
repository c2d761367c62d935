"""A share of the machine: cgroups (v1 or v2) that bound the CPU time of some of the processes.

On one machine everybody's CPU is everybody's; with bounds, servers are as slow as on machines of their own.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


class Share:
    """A cgroup; ``percent`` of one core for all of its processes together, 0: no bound, but a low weight."""

    def __init__(self, name: str, percent: int) -> None:
        v1 = ROOT / "cpu"
        self.path = (v1 if v1.is_dir() else ROOT) / f"zabra-{os.getpid()}-{name}"
        self.path.mkdir()
        if v1.is_dir():
            if percent:
                (self.path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self.path / "cpu.cfs_quota_us").write_text(str(PERIOD_US * percent // 100))
            else:
                (self.path / "cpu.shares").write_text("128")
        elif percent:
            (self.path / "cpu.max").write_text(f"{PERIOD_US * percent // 100} {PERIOD_US}")
        else:
            (self.path / "cpu.weight").write_text("12")

    def add(self, pid: int) -> None:
        """From now on this process (and what it starts) is bound."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """When its processes are gone."""
        self.path.rmdir()

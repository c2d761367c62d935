"""Faults of disks: slow, failing, full, rotten, lost; and what an operator does to them."""

from zabra.server.server import Server
from zabra.sim.clock import US_PER_MS
from zabra.sim.disk import EIO, ENOSPC, SHORT, SLOW
from zabra.sim.machine import Machine
from zabra.sim.trouble import CUT_OFF, ENDS, RESTART_MS, RESTARTED, SPAN_MS, Action, Faults, Strike
from zabra.storage.errors import StorageError
from zabra.storage.names import VERSION_FOLDER


def take_snapshot(server: Server) -> None:
    """What the admin server's command does."""
    if server.role.tree_is_committed() and not server.snapshotter.busy():
        server.roll_log()
        server.snapshotter.begin()


class DiskFaults(Faults):
    """What goes wrong with what is stored."""

    def actions(self) -> dict[str, Action]:
        return {
            "slow disk": self._slow_disk,
            "stuck fsync": self._stuck_fsync,
            "slow log": self._slow_log,
            "lone disk": self._lone_disk,
            "write error": self._write_error,
            "fsync error": self._fsync_error,
            "short write": self._short_write,
            "disk full": self._disk_full,
            "bit flip": self._bit_flip,
            "lost entry": self._lost_entry,
            "reformat": self._reformat,
            "purge": self._purge,
            "snapshot": self._snapshot,
        }

    def _slow_disk(self) -> bool:
        machine = self.trouble.some_machine()
        machine.fsync_jitter_us = int(self.prng.log_between(2_000, 1_000_000))

        def undo() -> None:
            machine.fsync_jitter_us = machine.fsync_us

        self.trouble.later(self.trouble.span_ms(), undo)
        return True

    def _inject(self, operation: str, kind: str) -> bool:
        machine = self.trouble.some_up()
        if machine is None:
            return False
        if kind != SLOW:
            until = self.cluster.scheduler.now_us + (SPAN_MS + RESTART_MS) * US_PER_MS
            self.trouble.monitor.promise(machine.sid).may_stop_until_us = until
        machine.disk.inject(operation, kind, skip=self.prng.below(5))
        self.trouble.later(SPAN_MS, machine.disk.clear_faults)
        return True

    def _stuck_fsync(self) -> bool:
        for machine in self.cluster.machines.values():
            machine.disk.slow_ms = 200 + self.prng.below(8_000)
        return self._inject("sync", SLOW)

    def _slow_log(self) -> bool:
        """Others commit, and it applies, what its own log does not have, also while it takes a snapshot."""
        machine = self.trouble.some_up()
        if machine is None or machine.process is None:
            return False
        machine.log_extra_us = int(self.prng.log_between(20_000, 2_000_000))

        def undo() -> None:
            machine.log_extra_us = 0

        self.trouble.later(self.trouble.span_ms(), undo)
        if self.prng.chance(0.7):
            self.cluster.scheduler.after(self.prng.below(300_000), self._snapshot_at, machine)
            self.trouble.strikes["fuzzy snapshot"] = Strike(ENDS)
        return True

    def _snapshot(self) -> bool:
        machine = self.trouble.some_up()
        if machine is None:
            return False
        self._snapshot_at(machine)
        if self.prng.chance(0.5):
            self.trouble.strikes["fuzzy snapshot"] = Strike(
                self.prng.pick((ENDS, RESTARTED)), self.prng.below(2)
            )
        return True

    def _snapshot_at(self, machine: Machine) -> None:
        if machine.process is not None and self.trouble.active:
            machine.process.call(take_snapshot)

    def _lone_disk(self) -> bool:
        """What only one has acked is asked of it again, and may not count before it has it again."""
        leader = self.trouble.leader()
        followers = [machine for machine in self.trouble.up() if machine is not leader]
        if leader is None or not followers:
            return False
        alone = self.prng.pick(followers)
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        for machine in self.trouble.up():
            if machine is not alone:
                # Beyond the limit a follower is given up, and nobody leads.
                machine.disk.slow_ms = limit_ms // 2 + self.prng.below(limit_ms // 2)
                machine.disk.inject("sync", SLOW)
                self.trouble.later(SPAN_MS, machine.disk.clear_faults)
        self.trouble.strikes["truncated"] = Strike(self.prng.pick((ENDS, CUT_OFF)))
        soon_us = self.prng.below(limit_ms * US_PER_MS // 4)
        self.cluster.scheduler.after(soon_us, self.trouble.restart_at_once, alone)
        return True

    def _write_error(self) -> bool:
        return self._inject("write", EIO)

    def _fsync_error(self) -> bool:
        return self._inject("sync", EIO)

    def _short_write(self) -> bool:
        return self._inject("write", SHORT)

    def _disk_full(self) -> bool:
        return self._inject(self.prng.pick(["write", "create", "preallocate"]), ENOSPC)

    def _victim(self) -> Machine | None:
        """A machine that may lose data now; it is brought down for that."""
        for sid in self.prng.shuffled(self.trouble.sids()):
            if self.cluster.machines[sid].lives > 0 and self.trouble.is_safe_to_lose(sid):
                machine = self.cluster.machines[sid]
                machine.kill()
                self.trouble.monitor.promise(sid).damage()
                return machine
        return None

    def _files(self, machine: Machine) -> list[str]:
        names = machine.disk.list(VERSION_FOLDER)
        paths = [f"{VERSION_FOLDER}/{name}" for name in names]
        return [path for path in paths if machine.disk.exists(path) and machine.disk.size(path) > 0]

    def _bit_flip(self) -> bool:
        machine = self._victim()
        if machine is None:
            return False
        for _ in range(1 + self.prng.below(3)):
            # The epoch files are a few digits without a checksum (the format is upstream's): a flipped bit
            # there is another epoch, and nothing can tell.
            files = [path for path in self._files(machine) if "Epoch" not in path]
            if files:
                path = self.prng.pick(files)
                offset = self.prng.below(machine.disk.size(path))
                machine.disk.flip(path, offset, 1 << self.prng.below(8))
        self.trouble.restart(machine)
        return True

    def _lost_entry(self) -> bool:
        machine = self._victim()
        if machine is None:
            return False
        files = self._files(machine)
        logs = [path for path in files if "/log." in path]
        if files:
            machine.disk.lose_entry(self.prng.pick(logs if logs and self.prng.chance(0.6) else files))
        self.trouble.restart(machine)
        return True

    def _reformat(self) -> bool:
        machine = self._victim()
        if machine is None:
            return False
        self.trouble.wipe(machine)
        self.trouble.restart_later(machine)
        return True

    def _purge(self) -> bool:
        machine = self.trouble.some_up()
        if machine is None or machine.process is None:
            return False
        try:
            machine.process.store.purge(3)
        except (OSError, StorageError):
            return False
        return True

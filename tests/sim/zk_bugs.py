"""The bugs of upstream that ``tests/scenarios/zk_*.txt`` replay, each as it would look in this code.

A scenario must fail with its bug put back; otherwise it proves nothing.  ``Bug.text`` says what the buggy
code does; where Zabra has a second line of defence, the plant takes that away too.
"""

# ruff: noqa: E501  # pieces of source text are as long as they are

from tests.sim.planted import Plant

SYNC = "zabra.zab.synchronization:LearnerSync"
LEARNING = "zabra.server.roles.learning:Learning"
LEADING = "zabra.server.roles.leading:Leading"
WORKER = "zabra.server.disk_worker:DiskWorker"
ELECTION = "zabra.zab.election:FastLeaderElection"
ACKS = "zabra.zab.quorum:AckSet"
STORE = "zabra.storage.txnsnaplog:FileTxnSnapLog"
LOG = "zabra.storage.txnlog:FileTxnLog"
RECOVERY = "zabra.server.recovery:Recovery"


class Bug:
    """An upstream bug: the scenario that replays it, what the buggy code does, and how to put it back."""

    def __init__(self, scenario: str, text: str, *plants: Plant) -> None:
        self.scenario = scenario
        self.text = text
        self.plants = plants


_SWALLOWED = Plant(
    f"{WORKER}.run",
    "            raise DiskFailure(token, done, f\"{type(error).__name__}: {error}\") from error",
    "            return commands[len(commands) - 1].token",
)
_COUNT_ANYBODY = Plant(f"{ACKS}.add", "        bit = self._first.bit(sid)\n        counted = bit != 0",
    "        bit = self._first.bit(sid) or 1 << 20\n        counted = True")  # fmt: skip

BUGS = (
    # Elections and epochs.
    Bug("zk_0335_epochs_are_never_used_twice", "a leader does not log its epoch",
        Plant("zabra.server.peer:Peer._save_epoch", "        command.value = epoch",
            "        command.value = epoch\n        if kind == DISK_ACCEPTED_EPOCH:\n            command.value = 0"),
        Plant("zabra.server.recovery:recover_epochs", "    if accepted < current:",
            "    if False:")),
    Bug("zk_0582_epoch_of_the_snapshot", "the epoch is not taken from the data where its file is missing",
        Plant("zabra.server.recovery:recover_epochs", "max(0, recovered.last_zxid >> 32)", "0")),
    Bug("zk_0596_a_torn_txn_is_no_vote", "the zxid of a torn txn counts as logged",
        Plant(f"{RECOVERY}._finish", "        out.recent = self._recent",
            "        out.recent = self._recent\n        tree.last_processed_zxid += tree.last_processed_zxid > 0")),
    Bug("zk_0764_observers_do_not_elect", "an observer's vote counts",
        _COUNT_ANYBODY,
        Plant(f"{ELECTION}.receive", "if sid not in self._view:", "if False:"),
        Plant(f"{ELECTION}._send_notifications", "for sid in self._view:", "for sid in range(1, 5):"),
        Plant(f"{ELECTION}.receive", "n.leader not in self._view", "False")),
    Bug("zk_2959_observers_do_not_count_for_epochs", "an observer stands in for a follower",
        _COUNT_ANYBODY),
    Bug("zk_1343_current_epoch_with_newleader", "currentEpoch is set with UPTODATE",
        Plant(f"{LEARNING}.carry_out_one",
            "            self.peer.save_current_epoch(command.zxid, SyncDurable(self))",
            "            self.sync_durable()"),
        Plant(f"{LEARNING}.synchronised", "        self.state = BROADCAST",
            "        self.state = BROADCAST\n"
            "        self.peer.save_current_epoch(sync_now.new_leader_zxid >> 32, None)")),
    Bug("zk_1653_snapshot_before_its_epoch", "data of a later epoch than currentEpoch is refused",
        Plant("zabra.server.recovery:recover_epochs", "        if of_data > accepted:", "        if True:")),
    Bug("zk_4269_half_written_epoch_file", "a tmp file of an epoch keeps the server from starting",
        Plant("zabra.server.recovery:recover_epochs", "    accepted = epochs.read_accepted()\n",
            "    accepted = epochs.read_accepted()\n"
            "    if epochs._disk.exists('version-2/acceptedEpoch.tmp'):\n"
            "        raise EpochError('a tmp file')\n")),
    Bug("zk_1419_epoch_before_zxid", "votes are compared without asking whether the epochs are the same",
        Plant("zabra.zab.vote:supersedes", "    if peer_epoch != over_peer_epoch:\n"
            "        return peer_epoch > over_peer_epoch",
            "    if peer_epoch > over_peer_epoch:\n        return True")),
    Bug("zk_1818_late_server_finds_its_leader", "only votes of the own round count",
        Plant(f"{ELECTION}._receive_decided", "if self._is_led(self._out_of_election, vote):", "if False:")),
    Bug("zk_3109_a_black_hole_holds_nobody_up", "an election waits for everybody",
        Plant(f"{ELECTION}._check_quorum",
            "        if not self._votes_for(self._received, self._proposal).has_all_quorums():",
            "        if len(self._received) < len(self._view):")),
    Bug("zk_3769_garbage_at_every_port", "a malformed message ends the thread that reads it",
        Plant("zabra.server.election_connection:ElectionConnections._identify",
            "            self._close(link, hello.reason, actions)\n            return False",
            "            raise ValueError(hello.reason)")),
    Bug("zk_1277_the_counter_ends", "the leader goes on beyond the counter's end",
        Plant("zabra.zab.broadcast:Broadcast.is_exhausted",
            "return counter_of(self.last_proposed) >= COUNTER_MAX - 1", "return False")),
    # Synchronisation.
    Bug("zk_1154_txn_of_one_server", "a txn that is older than what was committed meanwhile is left in place",
        Plant("zabra.zab.synchronization:_Walk.through", "                if not epoch_start:",
            "                if False:")),
    Bug("zk_1156_truncation_is_exact", "TRUNC cuts one txn too many",
        Plant(f"{WORKER}._carry_out", "self._store.truncate(command.zxid)",
            "self._store.truncate(command.zxid - 1)")),
    Bug("zk_1489_writing_after_a_truncation", "the file that was cut is written on at the old position",
        Plant(f"{LOG}.truncate", "        self.roll()\n",
            "        old, path, position, size = self._file, self._file_path, self._position, self._file_size\n"
            "        if old is None:\n"
            "            path = list_logs(self.disk, self.folder)[-1].path\n"
            "            old = self.disk.open(path)\n"
            "            position = size = self.disk.size(path)\n"
            "            old.seek(position)\n"),
        Plant(f"{LOG}.truncate", "        self._broken = \"\"\n",
            "        self._broken = \"\"\n"
            "        self._file, self._file_path, self._position, self._file_size = old, path, position, size\n")),
    Bug("zk_3701_a_failed_truncation", "the learner goes on although its log could not be cut",
        _SWALLOWED),
    Bug("zk_1558_snapshot_of_what_is_not_committed", "TRUNC leaves a snapshot that has the txn",
        Plant("zabra.server.server:Server.ready", "if self.role.tree_is_committed():", "if True:"),
        Plant(f"{STORE}.truncate", "        self.snaps.drop_after(zxid)\n", "")),
    Bug("zk_2845_memory_behind_the_log", "a server votes with its memory, not its log",
        Plant("zabra.server.roles.looking:Looking.count_in", "for entry in self.unfinished_txns:",
            "for entry in ():")),
    Bug("zk_3104_newleader_behind_the_snapshot", "NEWLEADER is queued before the txns that raced with the snapshot",
        Plant(f"{LEADING}.forward_to", "        if handler.walk is None:", "        if True:")),
    Bug("zk_2872_a_snapshot_is_durable_before_its_ack", "a snapshot that was sent is not fsynced",
        Plant("zabra.storage.snapshots:SnapshotWriter.finish", "            self._file.sync()\n", "")),
    Bug("zk_3642_an_aborted_snapshot", "a tree that was sent and not saved is kept when the leader dies",
        Plant(f"{LEARNING}.begin_snapshot", "        self.must_reload = True\n", ""),
        Plant(f"{SYNC}._start_from", "        self.must_reload = True\n", "")),
    Bug("zk_3911_acked_history_is_durable", "txns of a DIFF are logged after UPTODATE",
        Plant(f"{LEARNING}.carry_out_one", "                self.log(entry)\n", ""),
        Plant(f"{LEARNING}.synchronised", "        self.state = BROADCAST\n",
            "        self.state = BROADCAST\n"
            "        for one in self.logged_in_sync:\n            self.log(one)\n"),
        Plant(f"{LEARNING}.carry_out_one", "            self.logged_in_sync = []\n", "")),
    Bug("zk_3023_no_ack_while_the_disk_works", "NEWLEADER is acked while the disk still works",
        Plant(f"{LEARNING}.carry_out_one",
            "            self.peer.save_current_epoch(command.zxid, SyncDurable(self))",
            "            self.peer.save_current_epoch(command.zxid, None)\n            self.sync_durable()")),
    Bug("zk_4643_txns_before_the_epoch", "the epoch is written before the txns",
        Plant(f"{SYNC}._make_durable", "            persist = SyncCommand(PERSIST)\n",
            "            out.append(SyncCommand(SAVE_CURRENT_EPOCH, epoch_of(self.new_leader_zxid)))\n"
            "            persist = SyncCommand(PERSIST)\n")),
    Bug("zk_4646_acks_of_all_followers_are_durable", "NEWLEADER is acked before the log is fsynced",
        Plant(f"{LOG}._sync_file", "            file.sync()\n", "            file.tell()\n")),
    Bug("zk_4685_an_ack_that_overtakes", "the leader gives up where an ack of a txn overtakes NEWLEADER's",
        Plant(f"{LEADING}.acked", "                self.learner_synced(handler)\n                return\n",
            "                self.learner_synced(handler)\n                return\n"
            "            self.end('an ack of another zxid')\n            return\n")),
    Bug("zk_4394_commit_behind_newleader", "what is proposed before NEWLEADER and committed behind it is dropped",
        Plant(f"{SYNC}._make_durable", "        self.pending = self.pending[self.commits :]\n",
            "        self.pending = []\n")),
    Bug("zk_4785_the_highest_epoch_with_a_short_log", "the epoch is on the disk, the txns of the sync never are",
        Plant(f"{LEARNING}.carry_out_one", "                self.log(entry)\n", "")),
    Bug("zk_4925_no_hole_in_the_committed_log", "txns of a sync do not get into the committed log",
        Plant(f"{LEARNING}.apply", "            host.committed_log.add(entry)\n", ""),
        Plant("zabra.zab.synchronization:_is_gap_free", "    last = before\n", "    return True\n")),
    Bug("zk_1551_an_observer_misses_nothing", "an observer ignores what comes before UPTODATE",
        Plant(f"{SYNC}._packet", "            return self._proposed(p.zxid, p.data) or self._committed(p.zxid)\n"
            "        if kind == codes.PACKET_COMMIT_AND_ACTIVATE:",
            "            return \"\"\n        if kind == codes.PACKET_COMMIT_AND_ACTIVATE:")),
    Bug("zk_4712_the_old_roles_disk_work", "a server looks for a leader while its disk still works for the old one",
        Plant("zabra.server.roles.looking:Looking.advance", "        if not host.disk_is_idle():",
            "        if False:")),
    Bug("zk_2418_a_gap_behind_the_log", "a DIFF is made across a gap between the log and the memory",
        Plant("zabra.zab.synchronization:choose_from_log", "    if walk.queued < low:", "    if False:"),
        Plant("zabra.zab.synchronization:_is_gap_free", "    last = before\n", "    return True\n")),
    Bug("zk_4882_a_hole_in_one_log", "a follower goes on after a write failed", _SWALLOWED),
    # Snapshots, log, sessions.
    Bug("zk_3127_a_multi_across_a_snapshot", "a snapshot claims a txn that takes effect while it is taken",
        Plant("zabra.server.snapshotter:Snapshotter.begin",
            "self.begun_zxid = host.tree.last_processed_zxid",
            "self.begun_zxid = host.tree.last_processed_zxid + 1")),
    Bug("zk_3144_sessions_across_a_snapshot", "a session made while the snapshot was taken is not replayed",
        Plant(f"{RECOVERY}._replay_slice", "                tree.process_txn(txn.header, txn.record)\n",
            "                if txn.header.type != -10:\n"
            "                    tree.process_txn(txn.header, txn.record)\n")),
    Bug("zk_3145_pzxid_of_a_replayed_close", "a node that is gone already does not touch its parent in replay",
        Plant("zabra.tree.datatree:DataTree._delete", "        if parent is None or path == ROOT:",
            "        if parent is None or path == ROOT or path not in self.nodes:")),
    Bug("zk_2355_a_close_that_one_missed", "a learner tells a txn that it never applied",
        Plant(f"{LEARNING}.send_ack_epoch", "sync_now.told_zxid(),", "sync_now.told_zxid() + 1,")),
    Bug("zk_2247_the_leaders_disk_fails", "the leader goes on after an fsync failed", _SWALLOWED),
    Bug("zk_3496_larger_than_a_buffer", "a request is not measured before it becomes a txn",
        Plant("zabra.server.serving:Serving.parse", "size > self.max_buffer", "size > 64 * self.max_buffer")),
)  # fmt: skip

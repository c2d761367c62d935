"""The planted bugs: what is changed where, and which mistake that is.  ``tools/mutants.py`` runs them.

Each row re-creates a bug that upstream had (its JIRA number is in ``origin``) or a classic mistake.  An edit is
(file below src/zabra, text, text in its place); the text must occur exactly once.
"""

from typing import Final

Edit = tuple[str, str, str]


class Mutant:
    """One planted bug.  ``needs``: what a seed must have drawn for the bug to matter (options, faults)."""

    def __init__(self, name: str, origin: str, *edits: Edit, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self.name = name
        self.origin = origin
        self.edits = edits


_BROADCAST: Final = "zab/broadcast.py"
_DISCOVERY: Final = "zab/discovery.py"
_SYNC: Final = "zab/synchronization.py"
_QUORUM: Final = "zab/quorum.py"
_VOTE: Final = "zab/vote.py"
_ELECTION: Final = "zab/election.py"
_LEADING: Final = "server/roles/leading.py"
_LEARNING: Final = "server/roles/learning.py"
_FOLLOWING: Final = "server/roles/following.py"
_LOOKING: Final = "server/roles/looking.py"
_PROPOSING: Final = "server/roles/proposing.py"
_SYNCING: Final = "server/roles/syncing.py"
_SERVING: Final = "server/serving.py"
_SERVER: Final = "server/server.py"
_WORKER: Final = "server/disk_worker.py"
_TXNLOG: Final = "storage/txnlog.py"
_TXNLOG_FORMAT: Final = "storage/txnlog_format.py"
_TXNSNAPLOG: Final = "storage/txnsnaplog.py"
_SNAPSHOTS: Final = "storage/snapshots.py"
_LOG_READER: Final = "storage/log_reader.py"
_EPOCHS: Final = "storage/epochs.py"
_TREE: Final = "tree/datatree.py"
_QUOTA: Final = "tree/quota.py"
_WATCHES: Final = "tree/watches.py"
_WRITE_OPS: Final = "processors/write_ops.py"
_PREP: Final = "processors/prep.py"
_OUTSTANDING: Final = "processors/outstanding.py"
_TRACKER: Final = "sessions/tracker.py"
_PEER: Final = "server/peer.py"
_RECOVERY: Final = "server/recovery.py"
_OBSERVING: Final = "server/roles/observing.py"
_RELAYING: Final = "server/roles/relaying.py"

MUTANTS: Final = (
    # Who promises what, when.
    Mutant(
        "ack-before-fsync",
        "classic: a follower acks a proposal that is not on its disk yet",
        (
            _FOLLOWING,
            "        self.unacked.append(entry)\n",
            "        self.send(codes.PACKET_ACK, zxid, None)\n",
        ),
    ),
    Mutant(
        "leader-acks-before-fsync",
        "classic: the leader counts its own ack before its disk has the txn",
        (
            _LEADING,
            "        broadcast.propose(zxid, entry.raw, is_reconfig)\n",
            "        broadcast.propose(zxid, entry.raw, is_reconfig).acks.add(self.peer.sid)\n",
        ),
    ),
    Mutant(
        "newleader-acked-before-fsync",
        "ZOOKEEPER-3911, 4646: NEWLEADER is acked before the txns of the sync are on the disk",
        (
            _LEARNING,
            "            self.peer.save_current_epoch(command.zxid, SyncDurable(self))\n",
            "            self.peer.save_current_epoch(command.zxid, None)\n            self.sync_durable()\n",
        ),
    ),
    Mutant(
        "epoch-before-txns",
        "ZOOKEEPER-4643, 4785: currentEpoch is written before the txns of the sync, and acked with it",
        (
            _SYNC,
            "        out.append(SyncCommand(SAVE_CURRENT_EPOCH, epoch_of(self.new_leader_zxid)))\n",
            "        out.insert(0, SyncCommand(SAVE_CURRENT_EPOCH, epoch_of(self.new_leader_zxid)))\n",
        ),
    ),
    Mutant(
        "accepted-epoch-not-persisted",
        "ZOOKEEPER-335, 1081: a learner acks an epoch that it forgets in a crash",
        (
            _LEARNING,
            "            peer.save_accepted_epoch(answer.save_accepted_epoch, "
            "EpochAccepted(self, answer.ack_epoch))\n",
            "            peer.accepted_epoch = answer.save_accepted_epoch\n"
            "            self.send_ack_epoch(answer.ack_epoch)\n",
        ),
    ),
    Mutant(
        "current-epoch-not-persisted",
        "ZOOKEEPER-1343: NEWLEADER is acked and currentEpoch never written",
        (
            _PEER,
            "        self.current_epoch = epoch\n        self._save_epoch(DISK_CURRENT_EPOCH, epoch, durable)\n",
            "        self.current_epoch = epoch\n        self._save_epoch(DISK_ACCEPTED_EPOCH, epoch, durable)\n",
        ),
    ),
    Mutant(
        "snapshot-not-durable",
        "ZOOKEEPER-2872: a SNAP is acked before it is on the disk",
        (_SNAPSHOTS, "            self._file.sync()\n        finally:", "            pass\n        finally:"),
        (
            _SNAPSHOTS,
            "        self._disk.rename(self._new, self.path)\n        self._disk.sync_folder(self._folder)\n",
            "        self._disk.rename(self._new, self.path)\n",
        ),
    ),
    Mutant(
        "no-fsync",
        "classic: the log is written and never synced",
        (_TXNLOG, "        if self.force_sync:\n", "        if not self.force_sync:\n"),
    ),
    Mutant(
        "fsync-error-ignored",
        "fsyncgate: a failed fsync is taken for a good one",
        (
            _TXNLOG,
            '            self._broken = f"fsync of {self._file_path} failed: {error}"\n            raise\n',
            "            del error\n",
        ),
        needs=("fsync error", "power cut of all"),
    ),
    Mutant(
        "log-name-not-synced",
        "ALICE: a new log file's name is not synced with its folder",
        (
            _TXNLOG,
            "        self.disk.rename(new, path)\n        self.disk.sync_folder(self.folder)\n",
            "        self.disk.rename(new, path)\n",
        ),
    ),
    Mutant(
        "epoch-file-not-synced",
        "ALICE, ZOOKEEPER-1653: an epoch file is renamed before its bytes are durable",
        (_EPOCHS, "        file.write(data)\n        file.sync()\n", "        file.write(data)\n"),
    ),
    Mutant(
        "disk-error-survived",
        "ZOOKEEPER-4882: a server goes on after a failed write, with a hole in its log",
        (
            _SERVER,
            '        self.stop(EXIT_TXNLOG_ERROR, f"disk failure, nothing more is acknowledged: {message}")\n',
            "        self.disk_done(token)\n",
        ),
    ),
    # Quorums.
    Mutant(
        "half-is-a-quorum",
        "classic: half of the voters are taken for a majority",
        (
            _QUORUM,
            '        """More than half."""\n        return mask.bit_count() > self._half\n',
            '        """More than half."""\n        return mask.bit_count() >= self._half\n',
        ),
    ),
    Mutant(
        "observer-counted",
        "ZOOKEEPER-764, 2959: an observer's ack counts as a voter's",
        (
            _QUORUM,
            "        return self._bits.get(sid, 0)\n\n    def mask",
            "        return self._bits.get(sid, 1)\n\n    def mask",
        ),
    ),
    Mutant(
        "half-the-groups",
        "classic: half of the groups are taken for a majority of them",
        (
            _QUORUM,
            "        return majorities > len(self._groups) // 2\n",
            "        return majorities >= len(self._groups) // 2\n",
        ),
        needs=("groups",),
    ),
    Mutant(
        "weights-ignored",
        "classic: in a group a majority of heads decides, not of weight",
        (
            _QUORUM,
            "                    weight += self._weights[sid]\n",
            "                    weight += 1\n",
        ),
        needs=("groups",),
    ),
    Mutant(
        "serves-before-newleader-acks",
        "ZOOKEEPER-1192: a leader serves before a quorum has acked NEWLEADER",
        (
            _LEADING,
            "        if self.state == SYNCHRONIZATION and acks is not None and acks.formed:\n",
            "        if self.state == SYNCHRONIZATION and acks is not None:\n",
        ),
    ),
    Mutant(
        "epoch-without-acks",
        "ZOOKEEPER-1192: a leader goes on before a quorum has acked its epoch",
        (
            _DISCOVERY,
            "        if self._acks.has_all_quorums() and self._sid in self._acks.acked(0):\n",
            "        if self._sid in self._acks.acked(0):\n",
        ),
    ),
    Mutant(
        "never-steps-down",
        "classic: a leader that hears nobody stays one",
        (
            _LEADING,
            '        elif not heard.has_all_quorums():\n            self.end(f"not heard',
            '        elif heard.verifiers == []:\n            self.end(f"not heard',
        ),
    ),
    Mutant(
        "reconfig-by-old-quorum",
        "ZOOKEEPER-1699: a reconfiguration commits without a quorum of the new view",
        (
            _LEADING,
            "            self.peer.saw_proposal(entry.raw)\n"
            "            broadcast.set_verifiers(self.peer.verifiers())\n",
            "            self.peer.saw_proposal(entry.raw)\n",
        ),
        needs=("reconfig",),
    ),
    # Elections.
    Mutant(
        "votes-without-an-order",
        "ZOOKEEPER-1419: of two votes, one with the later epoch and one with the longer history, each beats the other",
        (
            _VOTE,
            "    if peer_epoch != over_peer_epoch:\n        return peer_epoch > over_peer_epoch\n"
            "    if zxid != over_zxid:\n        return zxid > over_zxid\n",
            "    if peer_epoch > over_peer_epoch or zxid > over_zxid:\n        return True\n"
            "    if peer_epoch < over_peer_epoch or zxid < over_zxid:\n        return False\n",
        ),
    ),
    Mutant(
        "lowest-zxid-wins",
        "classic: the vote for the shorter history wins, and the leader takes whoever comes",
        (_VOTE, "        return zxid > over_zxid\n", "        return zxid < over_zxid\n"),
        (
            _DISCOVERY,
            "            if summary.is_more_recent_than(self._summary):\n",
            "            if summary.last_zxid < self._summary.last_zxid < 0:\n",
        ),
    ),
    Mutant(
        "tree-behind-log",
        "ZOOKEEPER-2845: back in LOOKING the tree is not brought up to the log",
        (_LOOKING, "        self.count_in()\n        self.looking", "        self.looking"),
    ),
    Mutant(
        "unconfirmed-leader-joined",
        "classic: a server joins a leader that has not said that it leads, over and over",
        (
            _ELECTION,
            "        return said is not None and said.state == LEADING\n",
            "        return said is None or said.state != LEADING\n",
        ),
    ),
    # Synchronisation.
    Mutant(
        "commits-what-follows",
        "classic: with a proposal that a quorum has acked all behind it commit, too",
        (
            _BROADCAST,
            "        while proposal is not None and proposal.acks.has_all_quorums():\n",
            "        while proposal is not None:\n",
        ),
    ),
    Mutant(
        "no-trunc",
        "ZOOKEEPER-1154: a learner keeps a txn of another history, and gets a DIFF on top",
        (_SYNC, "                if not epoch_start:\n", "                if epoch_start is None:\n"),
    ),
    Mutant(
        "diff-off-by-one",
        "classic: a DIFF begins one txn too late",
        (
            _SYNCING,
            "        for entry in history[plan.committed_start :]:\n",
            "        for entry in history[plan.committed_start + 1 :]:\n",
        ),
    ),
    Mutant(
        "diff-with-a-hole",
        "ZOOKEEPER-4925: what was committed during a sync is missing in the history for others",
        (
            _LEARNING,
            "            host.tree.process_txn(entry.header, entry.record)\n"
            "            host.committed_log.add(entry)\n",
            "            host.tree.process_txn(entry.header, entry.record)\n",
        ),
    ),
    Mutant(
        "trunc-one-too-many",
        "ZOOKEEPER-1156: TRUNC cuts one record too many",
        (
            _TXNLOG,
            "                    if entry.zxid > zxid:\n",
            "                    if entry.zxid >= zxid:\n",
        ),
    ),
    Mutant(
        "trunc-one-too-few",
        "classic: TRUNC leaves one record that was never committed",
        (
            _TXNLOG,
            "                    if entry.zxid > zxid:\n",
            "                    if entry.zxid > zxid + 1:\n",
        ),
    ),
    Mutant(
        "trunc-tree-not-reloaded",
        "ZOOKEEPER-1549: what TRUNC has cut from the log lives on in the tree",
        (
            _LEARNING,
            "        else:\n            self.role.reload_tree()\n",
            "        else:\n            self.role.reloaded()\n",
        ),
    ),
    Mutant(
        "emptied-before-the-snap",
        "classic: a learner that cannot cut its log throws its history away, and then asks for a SNAP",
        (
            _WORKER,
            "            command.refused = not self._store.truncate(command.zxid)\n",
            "            command.refused = not self._store.truncate(command.zxid)\n"
            "            if command.refused:\n"
            "                self._store.log.clear()\n"
            "                for file in self._store.snaps.files():\n"
            "                    self._store.snaps.delete(file)\n",
        ),
        needs=("snapshot of a tail",),
    ),
    Mutant(
        "aborted-snap-kept",
        "ZOOKEEPER-3642: the tree of a SNAP that was not finished counts as history",
        (
            _LEARNING,
            '        """SNAP: from here the stream is a snapshot\'s."""\n        self.must_reload = True\n',
            '        """SNAP: from here the stream is a snapshot\'s."""\n        self.must_reload = False\n',
        ),
    ),
    Mutant(
        "old-log-behind-snap",
        "ZOOKEEPER-1558: the log from before a SNAP stays, and is replayed on top of it",
        (
            _TXNSNAPLOG,
            "        self.log.clear()\n        self._keep_only(zxid)\n",
            "        self.snaps.adopted(zxid)\n",
        ),
        (
            _TXNSNAPLOG,
            "        if self.log.last_zxid > zxid:\n            if list_logs",
            "        if self.log.last_zxid > zxid and zxid < 0:\n            if list_logs",
        ),
    ),
    Mutant(
        "pending-of-sync-lost",
        "ZOOKEEPER-4394, 1551: what came between NEWLEADER and UPTODATE is forgotten",
        (
            _LEARNING,
            "        committed = sync_now.pending[: sync_now.commits]\n",
            "        sync_now.pending = []\n        committed = sync_now.pending[: sync_now.commits]\n",
        ),
    ),
    Mutant(
        "apply-at-proposal",
        "classic: a follower applies a txn when it is proposed",
        (
            _FOLLOWING,
            "        self.pending.append(entry)\n        self.unacked.append(entry)\n",
            "        self.commit_entry(entry)\n        self.unacked.append(entry)\n",
        ),
        (
            _FOLLOWING,
            "            self.commit(p.zxid)\n",
            "            pass\n",
        ),
    ),
    Mutant(
        "inform-at-proposal",
        "classic: observers are informed of what is only proposed",
        (
            _LEADING,
            "            if handler.forwarding and not handler.is_observer:\n"
            "                handler.send_raw(packet)\n",
            "            if handler.forwarding and handler.is_observer:\n"
            "                handler.send_raw(encode_packet(codes.PACKET_INFORM, zxid, entry.raw))\n"
            "                self.dirty[handler.conn_id] = handler\n"
            "            elif handler.forwarding:\n"
            "                handler.send_raw(packet)\n",
        ),
        (
            _LEADING,
            "                if handler.is_observer:\n                    if inform is None:\n",
            "                if handler.is_observer and inform is None and designated == NO_RECONFIG:\n"
            "                    continue\n"
            "                if handler.is_observer:\n                    if inform is None:\n",
        ),
    ),
    Mutant(
        "fuzzy-snapshot-taken-for-exact",
        "classic: a snapshot counts as the tree at its end, and what happened while it was taken is not replayed",
        (
            _RECOVERY,
            "        start = 1 if file is None else file.zxid + 1\n",
            "        start = 1 if file is None else max(file.zxid, self._reach) + 1\n",
        ),
        (
            _RECOVERY,
            "                tree.expect_snapshot_digest(digest.zxid, digest.digest, file.zxid)\n",
            "                tree.last_processed_zxid = self._reach\n",
        ),
    ),
    Mutant(
        "counter-rolls-over",
        "ZOOKEEPER-1277: the counter of an epoch runs over into the next one",
        (
            _BROADCAST,
            "        return counter_of(self.last_proposed) >= COUNTER_MAX - 1\n",
            "        return counter_of(self.last_proposed) < 0\n",
        ),
        needs=("near_rollover",),
    ),
    # Replay.
    Mutant(
        "replay-begins-one-late",
        "classic: the first txn behind a snapshot is not replayed on top of it",
        (
            _RECOVERY,
            "        start = 1 if file is None else file.zxid + 1\n",
            "        start = 1 if file is None else file.zxid + 2\n",
        ),
    ),
    Mutant(
        "torn-tail-refused",
        "ZOOKEEPER-2332: what a crash leaves behind the last whole record keeps the server from starting",
        (
            _TXNLOG,
            "        if reader.tail.verdict == fmt.ROTTEN:\n            raise",
            "        if reader.tail.verdict != fmt.CLEAN:\n            raise",
        ),
        needs=("torn batch",),
    ),
    Mutant(
        "multi-replayed-in-part",
        "ZOOKEEPER-3127: a multi whose first part was in the snapshot is replayed without the others",
        (
            _TREE,
            "                self._apply(part_header, record, part_result)\n",
            "                self._apply(part_header, record, part_result)\n"
            "                if part_result.err != codes.OK:\n                    break\n",
        ),
    ),
    # Requests.
    Mutant(
        "outstanding-changes-ignored",
        "classic: prep looks at what is applied, not at what is proposed",
        (
            _PREP,
            "        return find_record(self.outstanding, self.tree, path, self.zxid)\n",
            "        return find_record(type(self.outstanding)(), self.tree, path, self.zxid)\n",
        ),
    ),
    Mutant(
        "failed-multi-not-rolled-back",
        "ZOOKEEPER-2052: a failed multi leaves its changes behind for those who come next",
        (
            _OUTSTANDING,
            "            if undo.before is None:\n                del self._records[undo.path]\n",
            "            if undo.before is None:\n                continue\n",
        ),
    ),
    Mutant(
        "request-proposed-twice",
        "classic: a forwarded request is carried out twice",
        (
            _LEADING,
            "        request = decode_request(packet.data)\n        if request.op == codes.OP_SYNC:\n",
            "        request = decode_request(packet.data)\n"
            "        if request.op == codes.OP_CREATE and request.cxid % 50 == 7:\n"
            "            self.propose(\n"
            "                Request(\n"
            "                    request.session_id, request.cxid, request.op, request.body,\n"
            "                    packet.authinfo or [], handler.conn_id, 0, self.host.now_ms,\n"
            "                )\n"
            "            )\n"
            "        if request.op == codes.OP_SYNC:\n",
        ),
    ),
    Mutant(
        "read-overtakes-write",
        "classic: a read is answered before the session's own earlier write",
        (
            _SERVING,
            "            if not conn.queue.is_empty():\n                self.enqueue",
            "            if conn.queue is None:\n                self.enqueue",
        ),
    ),
    Mutant(
        "moved-session-not-checked",
        "ZOOKEEPER-1496: a request of a session that has moved on is still carried out",
        (
            _TRACKER,
            "        elif owner != OWNER_NONE and session.owner != owner:\n"
            "            raise KeeperError(codes.ERR_SESSION_MOVED)\n",
            "",
        ),
    ),
    Mutant(
        "sequence-by-children",
        "classic: sequence numbers count children, and come again",
        (
            _WRITE_OPS,
            "        path += sequence_suffix(parent.cversion)\n",
            "        path += sequence_suffix(parent.child_count)\n",
        ),
    ),
    Mutant(
        "container-with-children-deleted",
        "classic: a container that has just got a child is collected",
        (
            _WRITE_OPS,
            "        if node.child_count > 0:\n            raise KeeperError(codes.ERR_NOT_EMPTY, path)\n"
            "        if prep.tree.types",
            "        if prep.tree.types",
        ),
    ),
    Mutant(
        "quota-not-enforced",
        "classic: a hard limit refuses nobody",
        (_WRITE_OPS, "    if prep.tree.quota.violates(path, size, 1):\n", "    if size < 0:\n"),
        needs=("quotas",),
    ),
    Mutant(
        "write-needs-no-permission",
        "classic: whoever may not write does",
        (
            _WRITE_OPS,
            "        prep.require_acl(node.acl, codes.PERM_WRITE, request.ids, path)\n        if prep.tree.quota",
            "        if prep.tree.quota",
        ),
    ),
    # Sessions.
    Mutant(
        "pings-of-learners-ignored",
        "ZOOKEEPER-1049: who is connected to a follower expires",
        (
            _LEADING,
            "                self.sessions.touch(session_id, timeout_ms, self.host.now_ms)\n",
            "                self.sessions.is_live(session_id)\n",
        ),
        needs=("silence",),
    ),
    Mutant(
        "session-expired-twice",
        "classic: a session is closed twice",
        (
            _PROPOSING,
            '            host.info(f"expiring session {hex64(session_id)}")\n            self.close_session(session_id)\n',
            '            host.info(f"expiring session {hex64(session_id)}")\n'
            "            self.close_session(session_id)\n            self.close_session(session_id)\n",
        ),
    ),
    Mutant(
        "ephemeral-outlives-session",
        "ZOOKEEPER-1208: an ephemeral that is only proposed when its session closes stays for ever",
        (
            _WRITE_OPS,
            "            elif record.ephemeral_owner == session_id:\n                owned[record.path] = None\n",
            "",
        ),
    ),
    Mutant(
        "closing-session-may-create",
        "ZOOKEEPER-1208, 1496: a session that is being closed may still create",
        (
            _TRACKER,
            "        if session is not None:\n            session.closing = True\n",
            "        if session is not None:\n            session.closing = False\n",
        ),
        (
            _TRACKER,
            "                    if not session.closing:\n                        session.closing = True\n",
            "                    if not session.closing:\n                        session.closing = False\n",
        ),
    ),
    Mutant(
        "new-leader-forgets-sessions",
        "ZOOKEEPER-1367: a new leader does not expire the sessions that it took over",
        (
            _PROPOSING,
            "            self.sessions.add(session_id, timeout_ms, self.host.now_ms)\n",
            "            self.sessions.add(session_id, timeout_ms + 10**9, self.host.now_ms)\n",
        ),
    ),
    # Watches.
    Mutant(
        "watch-fires-twice",
        "classic: a one-shot watch stays after it fired",
        (
            _WATCHES,
            "                    self._set(path, watcher, mode & ~STANDARD)\n",
            "                    self._set(path, watcher, mode)\n",
        ),
    ),
    Mutant(
        "data-before-watch",
        "classic: the reply to a write overtakes the event that it fires",
        (
            _SERVING,
            "        if fired:\n            self.stats.fired(fired)\n            self.deliver(fired)\n        if request is not None:\n"
            "            conn = self.connections.get(request.conn_id)\n            if conn is None:\n"
            "                host.metrics.stale_replies.add(1)\n            else:\n"
            "                self.complete(conn, request, header.type, result)\n",
            "        if request is not None:\n"
            "            conn = self.connections.get(request.conn_id)\n            if conn is None:\n"
            "                host.metrics.stale_replies.add(1)\n            else:\n"
            "                self.complete(conn, request, header.type, result)\n"
            "        if fired:\n            self.stats.fired(fired)\n            self.deliver(fired)\n",
        ),
    ),
    Mutant(
        "missed-events-not-told",
        "ZOOKEEPER-1412: what a client missed while it was away is not told at its return",
        (
            _TREE,
            "            elif node.mzxid > relative_zxid:\n",
            "            elif node.czxid > relative_zxid:\n",
        ),
    ),
    Mutant(
        "recursive-watch-hears-children",
        "ZOOKEEPER-4475: a recursive watch is told of NodeChildrenChanged",
        (
            _WATCHES,
            "            self.data.add(path, watcher, RECURSIVE)\n",
            "            self.data.add(path, watcher, RECURSIVE)\n            self.child.add(path, watcher, PERSISTENT)\n",
        ),
    ),
    Mutant(
        "recursive-watch-ends-early",
        "classic: a persistent watch is spent by its first event",
        (
            _WATCHES,
            "                if mode & STANDARD:\n",
            "                if mode & (STANDARD | PERSISTENT):\n                    mode &= ~PERSISTENT\n",
        ),
    ),
    # What the simulator found in Zabra itself: each of these takes a fix back.
    Mutant(
        "own-synced-txns-forgotten",
        "3ba9db1 (ZOOKEEPER-2845): txns logged while synchronising were forgotten when the leader was lost",
        (
            _LEARNING,
            "        return self.logged_in_sync + self.pending.items()\n",
            "        return self.pending.items()\n",
        ),
        needs=("lost in sync",),
    ),
    Mutant(
        "own-failed-multi-error",
        "bae2197: a failed multi was answered with its first error",
        (
            _SERVING,
            "        err = codes.OK if result.results is not None else result.err\n",
            "        err = result.err\n",
        ),
    ),
    Mutant(
        "own-vote-with-unsynced-log",
        "9fd14b9: what was read back from a log whose fsync had failed was voted with",
        (
            _TXNLOG,
            "            for start in range(0, end, _REWRITE_BYTES):\n",
            "            for start in range(0, 0, _REWRITE_BYTES):\n",
        ),
    ),
    Mutant(
        "own-snap-over-bare-snapshot",
        "ec4e3ce: a SNAP behind a history that was only a snapshot stopped the server",
        (
            _TXNSNAPLOG,
            "            if list_logs(self.log.disk, self.log.folder):\n"
            "                self.log.truncate(zxid)\n            else:\n",
            "            if zxid >= 0:\n                self.log.truncate(zxid)\n            else:\n",
        ),
    ),
    Mutant(
        "own-impossible-cut",
        "a learner whose only snapshot is newer than the zxid of TRUNC stopped, and again after each restart",
        (
            _WORKER,
            "            command.refused = not self._store.truncate(command.zxid)\n",
            "            if not self._store.truncate(command.zxid):\n"
            '                raise ValueError("no snapshot to start from")\n',
        ),
        needs=("snapshot of a tail",),
    ),
    Mutant(
        "own-acks-of-a-former-life",
        "a follower's ack counted although it had come back since, and been told to cut the txn off",
        (
            _LEADING,
            "            broadcast.forget_acks(handler.sid, handler.last_zxid)\n",
            "",
        ),
        needs=("former life",),
    ),
    Mutant(
        "own-file-missing-between-epochs",
        "a log file that had disappeared between two epochs was not missed",
        (
            _LOG_READER,
            "                if zxid != self.last_zxid + 1 and reader.previous_zxid > max(self.last_zxid, self._from):\n",
            "                if zxid != self.last_zxid + 1 and reader.previous_zxid < 0:\n",
        ),
        needs=("lost entry",),
    ),
    Mutant(
        "own-closing-session-expired",
        "a session that was closing itself was expired on top of it",
        (
            _TRACKER,
            "                    if not session.closing:\n",
            "                    if session is not None:\n",
        ),
    ),
    Mutant(
        "own-outgrown-leader",
        "a voter that had accepted a later epoch never got in again for as long as the leader was there",
        (
            _LEADING,
            "        if not handler.is_observer and self.is_outgrown",
            "        if handler.is_observer and self.is_outgrown",
        ),
    ),
    Mutant(
        "own-stale-quota",
        "a quota whose limit went and came back went on from the count of before",
        (
            _QUOTA,
            "                if stats_path(quota_path) in self.nodes:\n",
            "                if stats_path(quota_path) == quota_path:\n",
        ),
        needs=("quotas",),
    ),
    Mutant(
        "own-view-without-its-txn",
        "a view that was proposed and lost before it was durable anywhere was put in force",
        (
            _SERVER,
            "        if next_ensemble is not None and next_ensemble.version > self.last_logged_zxid:\n",
            "        if next_ensemble is not None and next_ensemble.version < 0:\n",
        ),
        needs=("lost view",),
    ),
    Mutant(
        "own-crash-between-txns-and-epoch",
        "1faf981: a crash between the txns of a sync and its epoch kept the server from starting",
        (
            _RECOVERY,
            "        if of_data > accepted:\n            raise EpochError(\n",
            "        if of_data > accepted or epochs.read_rescue() is None:\n            raise EpochError(\n",
        ),
    ),
    Mutant(
        "own-unfinished-rescue",
        "7fba53a: a currentEpoch.tmp that was cut short kept the server from starting",
        (
            _EPOCHS,
            "        except EpochError:\n            return None\n",
            "        except EpochError:\n            raise\n",
        ),
    ),
    Mutant(
        "own-no-redial",
        "whoever could not be reached was dialled again with the next notification only, up to a minute later",
        (
            _ELECTION,
            "        if self._down and now_ms >= self._redial_at:\n",
            "        if self._down and now_ms < 0:\n",
        ),
        (
            _ELECTION,
            "        return self._redial_at if self._down and self._redial_at < first else first\n",
            "        return first\n",
        ),
        needs=("long absence",),
    ),
    Mutant(
        "own-reload-under-a-snapshot",
        "a tree was loaded anew while a snapshot was being given up, whose file that removed",
        (
            _LOOKING,
            "            if not self.reload_asked and host.disk_is_at_rest():\n",
            "            if not self.reload_asked:\n",
        ),
        needs=("overlapping snapshots",),
    ),
    Mutant(
        "own-old-view-needed",
        "what was proposed behind a reconfiguration needed the old view also when that was committed",
        (
            _LEADING,
            "            broadcast.activate(self.peer.verifiers())\n",
            "            broadcast.set_verifiers(self.peer.verifiers())\n",
        ),
        needs=("shrinking view",),
    ),
    Mutant(
        "own-view-of-one-log",
        "a view that one log alone had, and nobody had committed, kept its server from joining a leader",
        (
            _ELECTION,
            "        if not supporters.has_any_quorum():\n",
            "        if not supporters.has_all_quorums():\n",
        ),
        needs=("lonely view",),
    ),
    Mutant(
        "own-log-before-the-snap",
        "a log that ends before the start of an epoch was taken to go on there, although a SNAP had come between",
        (
            _TXNLOG_FORMAT,
            "    return zxid if zxid > 0 else 0\n",
            "    return zxid if zxid > 0 and zxid & _COUNTER_MASK else 0\n",
        ),
        # Nor is what the crash has left removed at the next start.
        (_RECOVERY, "            self._store.finish_adopting()\n", ""),
        needs=("torn SNAP",),
    ),
    Mutant(
        "own-spinning-dial",
        "e1e9a57: a dial that outlived its deadline made the server spin",
        (
            _LEARNING,
            "            if now < self.connect_deadline_ms:\n"
            "                host.wake_by(self.connect_deadline_ms)\n            return\n",
            "            host.wake_by(self.connect_deadline_ms)\n            return\n",
        ),
        (
            _OBSERVING,
            "            if now < self.connect_deadline_ms:\n"
            "                host.wake_by(self.connect_deadline_ms)\n        elif",
            "            host.wake_by(self.connect_deadline_ms)\n        elif",
        ),
    ),
    Mutant(
        "own-session-moved-below-relay",
        "312c430: a relay passed on what a session had left behind at another of its observers",
        (
            _RELAYING,
            "        elif self.owners.get(request.session_id, handler.conn_id) != handler.conn_id:\n",
            "        elif self.owners is None:\n",
        ),
        (
            _LEARNING,
            "        self.serving.session_closed(session_id)\n        self.revalidating",
            "        self.revalidating",
        ),
        needs=("move below a relay",),
    ),
    Mutant(
        "own-snapshots-share-a-file",
        "a SNAP was written into the file of a snapshot of the same zxid that was being taken",
        (
            _WORKER,
            "self._store.begin(command.zxid, command.flag, self._writes_log)",
            "self._store.begin(command.zxid, command.flag)",
        ),
        needs=("overlapping snapshots",),
    ),
    Mutant(
        "own-names-not-settled",
        "a start went by the name of an epoch's file that a power cut could still take back",
        (_RECOVERY, "            self._store.settle_names()\n", ""),
        needs=("half a name",),
    ),
    Mutant(
        "own-eager-when-deserted",
        "early decisions that were deserted at once were followed by more of them, hundreds a second",
        (_ELECTION, " or self._desertions >= DESERTIONS_MAX:", ":"),
        needs=("missing link",),
    ),
    Mutant(
        "vote-counted-twice",
        "classic: a vote that is sent again over a new connection counts as another server's",
        (
            _ELECTION,
            "        self._received[sid] = self._vote_of(n)\n",
            "        known = self._received.get(sid)\n"
            "        again = known is not None and known.matches(self._vote_of(n))\n"
            "        rest = [one for one in sorted(self._view) if one not in self._received] if again else []\n"
            "        self._received[rest[0] if rest else sid] = self._vote_of(n)\n",
        ),
        needs=("votes come twice",),
    ),
)

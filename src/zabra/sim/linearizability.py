"""Linearizability of a register, judged from outside: no zxid is believed.

The second opinion beside the checkers that use zxids as a witness: a server that lied in its zxids would
fool those.  The algorithm is Wing and Gong's search with Lowe's memory of configurations seen, one key at a
time (linearizability is compositional); exponential at worst, so histories are kept to some hundred
operations of some ten clients.

A znode is the register: its state is what a client sees of it, data and version.  ZooKeeper promises
linearizable writes; reads are included only where the reader asked a ``sync`` first and the ensemble
promises more for that (``reads`` says which).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from zabra.jute.primitives import Reader
from zabra.proto import codes
from zabra.proto.records import GetDataRequest, SetDataRequest, Stat
from zabra.sim.histories import History, Invocation

# The time at which an operation of unknown outcome ends.
NEVER: Final = 1 << 62
NO_NODE: Final = -1

# (data, version); version NO_NODE: there is no such node.
State = tuple[bytes, int]


class Operation:
    """One operation on the register, with what its client knows of the outcome.

    ``expected`` is the version asked for (-1: any); ``version`` and ``data`` are what the reply said, both
    unknown (None) where no reply came; ``err`` is the reply's.
    """

    __slots__ = ("data", "end", "err", "expected", "is_write", "label", "start", "value", "version")

    def __init__(self, start: int, end: int, is_write: bool, label: str = "") -> None:
        self.start = start
        self.end = end
        self.is_write = is_write
        self.label = label
        self.value = b""
        self.expected = -1
        self.err: int | None = codes.OK
        self.version: int | None = None
        self.data: bytes | None = None

    def step(self, state: State) -> State | None:
        """The state after this operation took effect in ``state``; None if its reply rules that out."""
        return self._write(state) if self.is_write else self._read(state)

    def _write(self, state: State) -> State | None:
        version = state[1]
        due = codes.OK
        if version == NO_NODE:
            due = codes.ERR_NO_NODE
        elif self.expected not in (-1, version):
            due = codes.ERR_BAD_VERSION
        if self.err is not None and self.err != due:
            return None
        if due != codes.OK:
            return state
        if self.version is not None and self.version != version + 1:
            return None
        return self.value, version + 1

    def _read(self, state: State) -> State | None:
        data, version = state
        if self.err is None:
            return state
        due = codes.ERR_NO_NODE if version == NO_NODE else codes.OK
        if self.err != due or (due == codes.OK and (self.data, self.version) != (data, version)):
            return None
        return state

    def __repr__(self) -> str:
        return self.label or f"Operation({self.start}..{self.end})"


def linearization(operations: Sequence[Operation], initial: State) -> list[Operation] | None:
    """An order that explains everything, or None.

    Operations of unknown outcome may have taken effect at any time after their start, or never.
    """
    answered = sorted([one for one in operations if one.end < NEVER], key=_by_start)
    # Those of unknown outcome are tried last: only where nothing else explains what was seen.
    ordered = answered + sorted([one for one in operations if one.end >= NEVER], key=_by_start)
    count = len(answered)
    everything = (1 << count) - 1
    seen: set[tuple[int, State]] = set()
    # (done, state, next candidate to try)
    stack: list[tuple[int, State, int]] = [(0, initial, 0)]
    path: list[int] = []
    while stack:
        done, state, candidate = stack.pop()
        if done & everything == everything:
            return [ordered[i] for i in path]
        place = (~done & done + 1).bit_length() - 1
        # What comes before the first that is not done, is done.
        candidate = max(candidate, place)
        horizon = _horizon(answered, done, place)
        advanced = False
        while candidate < len(ordered):
            one = ordered[candidate]
            if one.start > horizon:
                if candidate >= count:
                    break
                candidate = count
                continue
            if not done >> candidate & 1:
                after = one.step(state)
                # One of unknown outcome that changes nothing need not have happened.
                if after is not None and (candidate < count or after != state):
                    key = (done | 1 << candidate, after)
                    if key not in seen:
                        seen.add(key)
                        stack.append((done, state, candidate + 1))
                        stack.append((*key, 0))
                        path.append(candidate)
                        advanced = True
                        break
            candidate += 1
        if not advanced and path:
            path.pop()
    return None


def _horizon(answered: Sequence[Operation], done: int, place: int) -> int:
    """The first end of an operation that is not done, ``place`` being the first; later starts come later."""
    first = NEVER
    while place < len(answered) and answered[place].start <= first:
        if not done >> place & 1 and answered[place].end < first:
            first = answered[place].end
        place += 1
    return first


def _by_start(one: Operation) -> tuple[int, int]:
    return one.start, one.end


def register_operations(history: History, path: str, reads: Iterable[int] = ()) -> list[Operation]:
    """The setData operations on ``path``, and the getData ones whose invocation numbers are in ``reads``."""
    wanted = dict.fromkeys(reads)
    out: list[Operation] = []
    for one in history.invocations:
        if one.op == codes.OP_SET_DATA:
            asked = SetDataRequest.decode(Reader(one.body))
            if asked.path == path:
                out.append(_set_data(one, asked))
        elif one.op == codes.OP_GET_DATA and one.number in wanted:
            if GetDataRequest.decode(Reader(one.body)).path == path:
                out.append(_get_data(one))
    return out


def _new(one: Invocation, is_write: bool) -> Operation:
    operation = Operation(one.sent_us, one.done_us if one.answered else NEVER, is_write, repr(one))
    operation.err = one.err if one.answered else None
    return operation


def _set_data(one: Invocation, asked: SetDataRequest) -> Operation:
    operation = _new(one, True)
    operation.value = asked.data or b""
    operation.expected = asked.version
    if one.answered and one.err == codes.OK:
        operation.version = Stat.decode(Reader(one.reply)).version
    return operation


def _get_data(one: Invocation) -> Operation:
    operation = _new(one, False)
    if one.answered and one.err == codes.OK:
        r = Reader(one.reply)
        operation.data = r.read_buffer() or b""
        operation.version = Stat.decode(r).version
    return operation

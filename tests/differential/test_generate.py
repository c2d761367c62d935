"""The random runs: repeatable, movable, and with everything in them."""

from __future__ import annotations

import random
from collections import Counter

from tests.differential.engine import closes
from tests.differential.generate import Generator, Step, relocate, resolve
from tests.differential.wire import encode

from zabra.proto import codes


def steps(seed: int, root: str = "/d0000001", quota: bool = False) -> list[Step]:
    return Generator(random.Random(seed), root, quota=quota, malformed=True).run(1500)


def test_a_seed_is_a_run() -> None:
    assert steps(1) == steps(1)
    assert steps(1) != steps(2)


def test_a_run_can_be_moved_to_another_root() -> None:
    moved = relocate(steps(3), "/d0000001", "/d0000002")
    assert "/d0000001" not in str(moved)
    assert len(moved) == len(steps(3))
    assert relocate(moved, "/d0000002", "/d0000001") == steps(3)


def test_every_operation_can_be_encoded_and_turns_up() -> None:
    seen: Counter[int] = Counter()
    for seed in range(20):
        for step in steps(seed, quota=seed % 4 == 0):
            if step[0] == "batch":
                seen.update(encode(resolve(op, 5))[0] for op in step[2])
    internal = {codes.OP_CREATE_SESSION, codes.OP_DELETE_CONTAINER}
    assert {code for code in codes.OP_NAMES if not seen[code]} == internal


def test_nothing_follows_what_ends_a_connection() -> None:
    for seed in range(10):
        for step in steps(seed):
            if step[0] == "batch":
                assert not any(closes(op) for op in step[2][:-1])


def test_no_write_shares_a_batch_with_a_set_acl_before_it() -> None:
    for seed in range(10):
        for step in steps(seed):
            if step[0] == "batch":
                assert all(op[0] != "set_acl" for op in step[2][:-1] if step[2][-1][0] != "close_session")


def test_no_createttl_that_ends_upstream() -> None:
    def flat(ops: tuple[tuple[object, ...], ...]) -> list[tuple[object, ...]]:
        return [part for op in ops for part in (op[1] if op[0] == "multi" else (op,))]  # type: ignore[attr-defined]

    for seed in range(20):
        for step in steps(seed):
            for op in flat(step[2]) if step[0] == "batch" else ():
                if op[0] == "create_ttl":
                    assert op[4] in (5, 6) or op[5] >= 0  # type: ignore[operator]

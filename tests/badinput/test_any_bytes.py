"""Every decoder meets bytes that nobody meant: read, or refused in the decoder's own words, and nothing else.

What is drawn is mostly something valid with a few bytes changed, cut off or put in: pure noise rarely gets
behind the first field.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.admin.driver import Drive, framed
from tests.proto.test_records import DECLARED, values
from tests.storage.folders import FOLDER, new_store, small_folder

from zabra.auth.addresses import parse_address, parse_network
from zabra.jute.primitives import JuteError, Reader, Writer
from zabra.processors.operation import KIND_READ, KIND_WRITE
from zabra.processors.ops import OPS
from zabra.proto import codes, packets, records
from zabra.proto.packets import PacketBuffer
from zabra.proto.records import ConnectRequest, Id, QuorumPacket
from zabra.server.lag import decode_lag
from zabra.sim.disk import SimDisk
from zabra.storage.compression import CompressionError, compressor, decompressor
from zabra.storage.errors import StorageError
from zabra.storage.log_reader import LogFileReader
from zabra.tree.datatree import DataTree, decode_part
from zabra.tree.quota import StatsTrack
from zabra.tree.snapshot_walk import TreeLoader, serialize_tree

# (where, how many bytes are dropped there, what is put in), a share of 2**16 saying where.
EDITS = st.lists(
    st.tuples(st.integers(0, 0xFFFF), st.integers(0, 9), st.binary(max_size=9)), min_size=1, max_size=4
)
Edits = list[tuple[int, int, bytes]]


def edited(data: bytes, edits: Edits) -> bytes:
    for share, drop, put in edits:
        at = len(data) * share >> 16
        data = data[:at] + put + data[at + drop :]
    return data


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.__name__)
def test_records(declared: type) -> None:
    decode = getattr(records, declared.__name__).decode

    @settings(max_examples=40)
    @given(values(declared), EDITS)
    def check(record: object, edits: Edits) -> None:
        w = Writer()
        record.encode(w)  # type: ignore[attr-defined]
        try:
            decode(Reader(edited(w.getvalue(), edits)))
        except JuteError:
            return

    check()


PAYLOADS: tuple[Callable[[bytes | None], object], ...] = (
    packets.decode_learner_info,
    packets.decode_leader_info,
    packets.decode_ack_epoch,
    packets.decode_touches,
    packets.decode_revalidate,
    packets.decode_revalidate_answer,
    packets.decode_request,
    packets.decode_activate,
    packets.decode_inform_and_activate,
    decode_lag,
)


@pytest.mark.parametrize("decode", PAYLOADS, ids=lambda decode: decode.__name__)
def test_payloads_of_packets(decode: Callable[[bytes | None], object]) -> None:
    @given(st.none() | st.binary(max_size=40))
    def check(data: bytes | None) -> None:
        try:
            decode(data)
        except JuteError:
            return

    check()


PACKETS = b"".join(
    packets.encode_packet(kind, 7, data, ids)
    for kind, data, ids in (
        (codes.PACKET_PING, bytes(24), None),
        (codes.PACKET_REQUEST, bytes(40), [Id("ip", "127.0.0.1"), Id("digest", "a:b")]),
        (codes.PACKET_ACK, None, None),
    )
)


@given(EDITS, st.integers(1, 60))
def test_packets(edits: Edits, piece: int) -> None:
    data = edited(PACKETS, edits)
    buffer = PacketBuffer(100)
    try:
        for start in range(0, len(data), piece):
            buffer.feed(data[start : start + piece])
            while (packet := buffer.next()) is not None:
                assert isinstance(packet, QuorumPacket)
    except JuteError:
        return
    assert buffer.buffered() < 1000


@given(st.integers(-12, 120), st.none() | st.binary(max_size=60))
def test_parts_of_multis(kind: int, data: bytes | None) -> None:
    try:
        decode_part(kind, data)
    except JuteError:
        return


@given(st.one_of(st.binary(max_size=40), st.text("count=bytesLimi;,-+0189_", max_size=30).map(str.encode)))
def test_quotas(data: bytes) -> None:
    try:
        StatsTrack.parse(data).encode()
    except ValueError:
        return


@given(st.text("0123456789abcdefx.:/%[]-", max_size=30) | st.text(max_size=12))
def test_addresses(text: str) -> None:
    parse_network(text)
    parse_address(text)


# Files.

DISK, _APPLIED = small_folder()
assert isinstance(DISK, SimDisk)
NAMES = [f"{FOLDER}/{name}" for name in DISK.list(FOLDER)]
LOGS = {name: DISK.read(name) for name in NAMES if "/log." in name}
SNAPSHOTS = {name: DISK.read(name) for name in NAMES if "/snapshot." in name}


@given(st.sampled_from(sorted(LOGS)), EDITS)
def test_logs(name: str, edits: Edits) -> None:
    disk = SimDisk()
    disk.make_folder(FOLDER)
    file = disk.create(name)
    # Without most of its padding, which would take most of the edits.
    file.write(edited(LOGS[name].rstrip(b"\0") + bytes(64), edits))
    file.close()
    try:
        reader = LogFileReader(disk, name)
        while reader.tail is None:
            reader.next_slice()
    except StorageError:
        return


def pack(method: str, data: bytes) -> bytes:
    stream = compressor(method)
    return stream.compress(data) + stream.finish()


@pytest.mark.parametrize("method", ["", "gz", "snappy"])
def test_snapshots(method: str) -> None:
    name = max(SNAPSHOTS)
    packed = pack(method, SNAPSHOTS[name])
    ending = f".{method}" if method else ""

    @given(EDITS)
    def check(edits: Edits) -> None:
        disk = SimDisk()
        disk.make_folder(FOLDER)
        file = disk.create(name + ending)
        damaged = edited(packed, edits)
        file.write(damaged)
        file.close()
        snaps = new_store(disk).snaps
        (found,) = snaps.files()
        loader = TreeLoader()
        try:
            reader = snaps.reader(found)
            while not loader.done:
                more = reader.more()
                loader.feed(more)
                reader.used(len(more) - len(loader.leftover), loader.done)
            reader.finish()
        except (StorageError, JuteError):
            return
        # What passes every seal is what was written, whatever a packer may forgive in its own header.
        whole = TreeLoader()
        whole.feed(SNAPSHOTS[name][16:])
        assert serialize_tree(loader.tree) == serialize_tree(whole.tree)

    check()


@pytest.mark.parametrize("method", ["gz", "snappy"])
def test_packed_streams(method: str) -> None:
    packed = pack(method, bytes(range(256)) * 20)

    @given(EDITS, st.integers(1, 500))
    def check(edits: Edits, piece: int) -> None:
        data = edited(packed, edits)
        stream = decompressor(method)
        try:
            for start in range(0, len(data), piece):
                stream.decompress(data[start : start + piece])
            stream.finish()
        except CompressionError:
            return

    check()


TREE = serialize_tree(_APPLIED.tree)


@given(EDITS, st.integers(1, 2000))
def test_trees(edits: Edits, piece: int) -> None:
    data = edited(TREE, edits)
    loader = TreeLoader(limit=5000)
    try:
        for start in range(0, len(data), piece):
            loader.feed(data[start : start + piece])
    except JuteError:
        return
    if loader.done:
        assert isinstance(loader.tree, DataTree)


def encoded(record: object) -> bytes:
    w = Writer()
    record.encode(w)  # type: ignore[attr-defined]
    return w.getvalue()


# The client port.

NEW_SESSION = Writer()
ConnectRequest(0, 0, 10_000, 0, bytes(16), False).encode(NEW_SESSION)
HELLO = framed(NEW_SESSION.getvalue())
OPS_OF_CLIENTS = [row.code for row in OPS.rows() if row.kind in (KIND_READ, KIND_WRITE)]
REQUESTS = {
    declared.__name__: getattr(records, declared.__name__)
    for declared in DECLARED
    if declared.__name__.endswith("Request") and declared.__name__ != "ConnectRequest"
}
BODIES = st.one_of(
    st.binary(max_size=60),
    *[values(declared).map(encoded) for declared in DECLARED if declared.__name__ in REQUESTS],
)


def still_serves(drive: Drive) -> None:
    other = drive.connect()
    drive.create(other, "/others", b"", codes.MODE_PERSISTENT_SEQUENTIAL)
    drive.get(other, "/")


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans(), EDITS)
def test_bytes_of_a_client(chunks: list[bytes], says_hello: bool, edits: Edits) -> None:
    drive = Drive()
    conn = drive.open()
    hello = HELLO if says_hello else edited(HELLO, edits)
    for chunk in (hello, *chunks):
        if conn not in drive.closed:
            drive.receive(conn, chunk)
    still_serves(drive)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(OPS_OF_CLIENTS), BODIES, EDITS | st.just([])), max_size=6))
def test_bodies_of_requests(requests: list[tuple[int, bytes, Edits]]) -> None:
    drive = Drive()
    conn = drive.connect()
    for xid, (op, body, edits) in enumerate(requests, 1):
        assert conn not in drive.closed
        head = xid.to_bytes(4, "big") + op.to_bytes(4, "big", signed=True)
        answer = drive.receive(conn, framed(head + edited(body, edits)))
        assert xid.to_bytes(4, "big") in answer[4:8] or answer[4:8] == b"\xff\xff\xff\xff"
    still_serves(drive)

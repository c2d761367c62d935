"""Sessions over the network: what is refused, and what is said."""

import asyncio
import ssl

import pytest
from tests.plugins.memory_zookeeper import MemorySession, MemoryZooKeeper

from zabra.client import calls
from zabra.plugins.mirror_session import PartError, connect, multi, tls_context
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.testing.ensemble import AsyncEnsemble


def test_a_multi_says_which_part_was_refused():
    parts = [calls.part_of(calls.create(path, b"")) for path in ("/a", "/b/c", "/d")]
    with pytest.raises(PartError) as caught:
        asyncio.run(multi(MemorySession(MemoryZooKeeper()), parts))
    assert (caught.value.code, caught.value.path, caught.value.index) == (codes.ERR_NO_NODE, "/b/c", 1)


def test_a_real_server():
    async def main():
        async with AsyncEnsemble(1) as ensemble:
            session = await connect(ensemble.connect_string, "digest:me:secret", 10_000)
            await session.call(calls.create("/a", b"", calls.CREATOR_ACL))
            stranger = await connect(ensemble.connect_string, "", 10_000)
            with pytest.raises(KeeperError, match="NOAUTH for /a"):
                await stranger.call(calls.get_data("/a"))
            await multi(session, [calls.part_of(calls.set_data("/a", b"1"))])
            for one in (session, stranger):
                await one.close()
            with pytest.raises(ValueError, match="has a path in it"):
                await connect(f"{ensemble.connect_string}/a", "", 1000)

    asyncio.run(main())


def test_nobody_there():
    with pytest.raises(TimeoutError):
        asyncio.run(connect("127.0.0.1:1", "", 100))


def test_tls(tmp_path):
    assert tls_context("", "", "") is None
    (tmp_path / "ca").write_text("nothing\n")
    with pytest.raises(ssl.SSLError):
        tls_context(str(tmp_path / "ca"), "", "")

"""OracleWatch: the file, and a real ensemble of two that it keeps alive."""

import asyncio
from pathlib import Path

import pytest

from zabra.runtime.oracle import OracleWatch, read_oracle
from zabra.testing import AsyncEnsemble


@pytest.mark.parametrize(
    ("content", "says"), [("1", True), ("1\n", True), ("0", False), ("", False), ("yes", False)]
)
def test_the_file(tmp_path: Path, content: str, says: bool) -> None:
    (tmp_path / "oracle").write_text(content)
    assert read_oracle(str(tmp_path / "oracle")) == says


def test_no_file_says_no(tmp_path: Path) -> None:
    assert not read_oracle(str(tmp_path / "none"))


def test_without_a_path_nothing_is_watched() -> None:
    async def main() -> None:
        watch = OracleWatch(None, "")  # type: ignore[arg-type]  # never asked
        watch.start()
        await watch.stop()

    asyncio.run(main())


def test_two_voters_of_which_one_goes(tmp_path: Path) -> None:
    oracle = tmp_path / "oracle"
    oracle.write_text("0")

    async def main() -> None:
        async with AsyncEnsemble(2, options={"oraclePath": oracle}, folder=tmp_path) as ensemble:
            leader = ensemble.leader
            async with ensemble.client() as client:
                await client.create("/with-two", b"")
            await ensemble.kill(3 - leader)
            # Only now: told so while both are there, each of them would lead alone.
            oracle.write_text("1")
            await ensemble.wait("it leads alone", lambda: ensemble.members[leader].serves)
            async with ensemble.client(leader) as client:
                await client.create("/alone", b"")
                assert sorted(await client.get_children("/")) == ["alone", "with-two", "zookeeper"]
            oracle.write_text("0")
            await ensemble.wait("it steps down", lambda: not ensemble.members[leader].serves)
            await ensemble.start(3 - leader)
            await ensemble.wait_ready()
            async with ensemble.client(3 - leader) as client:
                await client.sync("/")
                assert "alone" in await client.get_children("/")

    asyncio.run(main())

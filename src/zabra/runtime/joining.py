"""Joining: how an observer that has no ``server.N`` line finds out whose observer it is.

It asks the addresses it was given: a server's client port tells the view in ``/zookeeper/config``; a quorum
or observer-master port tells it with NEWLEADER, so that is left to the server.  What was learned last is kept
beside the data, for a start while nobody can be asked.  See docs/adr/0078.
"""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from zabra.client.aio import AsyncClient
from zabra.config.ensemble import EnsembleConfig, EnsembleError
from zabra.jute.primitives import JuteError
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.packets import PacketBuffer, encode_learner_info, encode_packet
from zabra.runtime.assembly import Plan
from zabra.storage.errors import DataFolderError

log = logging.getLogger("zabra")

FILE_NAME: Final = "zabra.joined"
ASK_TIMEOUT_S: Final = 3.0
RETRY_S: Final = 0.5
# How often it is said that nobody can be asked.
SAY_EVERY: Final = 20
# Numbers that no member can have: ids in configurations have eight bits, and every number has 64.
FIRST_SID: Final = 1 << 32
LAST_SID: Final = 1 << 62

Address = tuple[str, int]


class JoinError(Exception):
    """There is no ensemble to join at these addresses."""


async def join(plan: Plan, addresses: Sequence[Address], tell: Callable[[str], None]) -> None:
    """Completes the plan of an observer that joins: its number, and the view or who to learn it from.

    Waits until somebody can be asked, unless an older view is at hand.  Raises JoinError, DataFolderError.
    """
    path = Path(plan.data_dir) / FILE_NAME
    sid, known = read_joined(path)
    settings = plan.settings
    if settings.server_id == 0:
        settings.server_id = sid or FIRST_SID + secrets.randbelow(LAST_SID - FIRST_SID)
    view = await find_view(addresses, settings.server_id, known, tell)
    if view is None:
        settings.observer_masters = list(addresses)
        view = known or EnsembleConfig({})
    plan.ensemble = view
    keep_joined(path, settings.server_id, view)


def read_joined(path: Path) -> tuple[int, EnsembleConfig | None]:
    """The number and the view kept from last time; (0, None) without them.  Raises DataFolderError."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return 0, None
    except OSError as error:
        raise DataFolderError(f"{path} cannot be read: {error}") from error
    first, _, rest = text.partition("\n")
    name, _, number = first.partition("=")
    try:
        if name != "sid" or not number.isdigit():
            raise ValueError(f"{first!r} is not sid=<number>")
        view = EnsembleConfig.parse(rest)
    except ValueError as error:
        raise DataFolderError(f"{path}: {error}") from error
    return int(number), view if view.servers else None


def keep_joined(path: Path, sid: int, view: EnsembleConfig) -> None:
    """Replaces what is kept.  Raises DataFolderError."""
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(f"sid={sid}\n{view.format()}", "utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise DataFolderError(f"{path} cannot be written: {error}") from error


async def find_view(
    addresses: Sequence[Address], sid: int, known: EnsembleConfig | None, tell: Callable[[str], None]
) -> EnsembleConfig | None:
    """The view that one of the addresses tells; None if one of them takes learners and will tell it then."""
    tries = 0
    while True:
        for address in addresses:
            view, takes = await ask(address, sid)
            if view is not None or takes:
                return view
        if known is not None:
            tell("nobody can be asked for the view: going on with the last one known")
            return known
        if tries % SAY_EVERY == 0:
            tell("waiting for an ensemble at " + ", ".join([show(one) for one in addresses]))
        tries += 1
        await asyncio.sleep(RETRY_S)


def show(address: Address) -> str:
    """host:port."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def ask(address: Address, sid: int) -> tuple[EnsembleConfig | None, bool]:
    """The view, where the address is a client port; and whether it is a port for learners."""
    if not await is_open(address):
        return None, False
    client = asyncio.create_task(ask_client_port(address))
    learner = asyncio.create_task(takes_learners(address, sid))
    try:
        waiting: set[asyncio.Task[EnsembleConfig | None] | asyncio.Task[bool]] = {client, learner}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if client in done and client.result() is not None:
                return client.result(), False
            if learner in done and learner.result():
                return None, True
    finally:
        for task in (client, learner):
            task.cancel()
        await asyncio.gather(client, learner, return_exceptions=True)
    return None, False


async def is_open(address: Address) -> bool:
    """Whether anybody listens there."""
    host, port = address
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    await hang_up(writer)
    return True


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes a connection; how it ends does not matter."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def ask_client_port(address: Address) -> EnsembleConfig | None:
    """What ``/zookeeper/config`` says; None if nobody answers clients there.  Raises JoinError."""
    client = AsyncClient(show(address))
    try:
        await client.start(ASK_TIMEOUT_S)
        async with asyncio.timeout(ASK_TIMEOUT_S):
            data, _ = await client.get_config()
        await client.close()
    except (TimeoutError, KeeperError, OSError) as error:
        log.debug("no view at %s: %s", show(address), error)
        return None
    finally:
        await client.abandon()
    try:
        view = EnsembleConfig.parse((data or b"").decode("utf-8", "replace"))
    except EnsembleError as error:
        raise JoinError(f"the view at {show(address)} cannot be read: {error}") from error
    if not view.servers:
        raise JoinError(f"{show(address)} is a server on its own: there is no ensemble to join")
    return view


async def takes_learners(address: Address, sid: int) -> bool:
    """Whether a leader, or somebody who relays, answers an observer there."""
    host, port = address
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                info = encode_learner_info(sid, -1)
                writer.write(encode_packet(codes.PACKET_OBSERVERINFO, 0, info))
                buffer = PacketBuffer()
                while data := await reader.read(4096):
                    buffer.feed(data)
                    packet = buffer.next()
                    if packet is not None:
                        return packet.type == codes.PACKET_LEADERINFO
            finally:
                await hang_up(writer)
    except (OSError, TimeoutError, JuteError) as error:
        log.debug("no master at %s: %s", show(address), error)
    return False

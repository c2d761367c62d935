"""Draws docs/watch.svg: what ``zabra watch`` prints, coloured, while changes are made at a real server.

    python tools/watch_picture.py [FILE]

Starts a server with a door, watches it with the command line in a process of its own, makes some changes with
a client, and draws the terminal's lines as they came.
"""

import asyncio
import re
import sys
from html import escape
from pathlib import Path

from zabra.client import calls
from zabra.client.aio import AsyncClient
from zabra.testing.ensemble import AsyncEnsemble

OUT = Path(__file__).resolve().parent.parent / "docs" / "watch.svg"
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "35": "#d2a8ff", "36": "#79c0ff"}
WIDTH_CHARS = 112
CHAR_PX = 7.83
LINE_PX = 19
LAST_PATH = "/services/web/node-1"
WITHIN_S = 30


async def make_changes(client: AsyncClient) -> None:
    """A few of each kind; the last one ends the picture."""
    await client.create("/config", b"")
    await client.create("/config/flags", b'{"dark-mode": false}')
    await client.create("/services", b"")
    await client.create("/services/web", b"")
    await client.create("/services/web/node-1", b"10.0.0.7:8080", flags=1)
    await client.create("/services/web/node-2", b"10.0.0.8:8080", flags=1)
    await client.set_data("/config/flags", b'{"dark-mode": true}')
    await client.multi(
        [
            calls.part_of(calls.create("/config/limits", b'{"requests": 100}')),
            calls.part_of(calls.set_data("/config", b"2 files")),
            calls.part_of(calls.delete("/services/web/node-2")),
        ]
    )
    await client.delete(LAST_PATH)


async def record() -> tuple[str, list[str]]:
    """The command, and the lines that it printed."""
    options = {"feed.port": "0", "feed.address": "127.0.0.1"}
    async with AsyncEnsemble(1, options=options) as ensemble:
        publishers = ensemble.members[1].publishers
        assert publishers is not None
        url = f"http://127.0.0.1:{publishers.feed_port}"
        arguments = ["watch", "/", "--since", "0", "--color", "always"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "zabra", *arguments, "--url", url, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with ensemble.client() as client, asyncio.timeout(WITHIN_S):
            await make_changes(client)
            lines = []
            while not (lines and "delete" in lines[-1] and LAST_PATH in lines[-1]):
                lines.append((await process.stdout.readline()).decode().rstrip("\n"))
        process.terminate()
        await process.wait()
    return "zabra watch / --url http://observer:8081 --since 0", lines


def spans(line: str, y: float) -> str:
    """One line as text with its colours."""
    parts = re.split(r"\x1b\[(\d+)m", line)
    out = [escape(parts[0])]
    for code, text in zip(parts[1::2], parts[2::2], strict=True):
        colour = COLOURS.get(code)
        out.append(f'<tspan fill="{colour}">{escape(text)}</tspan>' if colour else escape(text))
    return f'<text x="16" y="{y:g}" xml:space="preserve">{"".join(out)}</text>'


def cut(line: str) -> str:
    """The line as wide as the picture; codes take no room."""
    found, width = [], 0
    for part in re.split(r"(\x1b\[\d+m)", line):
        if not part.startswith("\x1b"):
            part = part[: max(0, WIDTH_CHARS - width)]
            width += len(part)
        found.append(part)
    return "".join(found)


def draw(command: str, lines: list[str]) -> str:
    """The picture."""
    height = 44 + LINE_PX * (len(lines) + 1) + 12
    rows = [spans(f"$ {command}", 52)]
    rows += [spans(cut(line), 52 + LINE_PX * number) for number, line in enumerate(lines, 1)]
    width = 32 + WIDTH_CHARS * CHAR_PX
    dots = "".join(
        [f'<circle cx="{20 + 18 * n}" cy="18" r="6" fill="{fill}"/>' for n, fill in enumerate(DOTS)]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" role="img" '
        'aria-label="zabra watch prints one change a line" '
        'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="13" fill="#e6edf3">'
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>{dots}\n' + "\n".join(rows) + "\n</svg>\n"
    )


DOTS = ("#ff5f56", "#ffbd2e", "#27c93f")


def main() -> int:
    """Draws it."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    command, lines = asyncio.run(record())
    out.write_text(draw(command, lines), "utf-8")
    print(f"wrote {out}: {len(lines)} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())

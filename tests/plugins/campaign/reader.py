"""A reader of the feed's door, as a process: appends what it is sent to a file, and goes on where that ends.

    python -m tests.plugins.campaign.reader URL FILE USER:PASSWORD

What it has written is its cursor, so that it has each txn once, whatever is killed: itself, the door, or the
server.
"""

import base64
import http.client
import sys
import time
from urllib.parse import urlsplit

from zabra.plugins.builtin.jsonl import FileLines, find_end
from zabra.plugins.jsontext import hex_of

AGAIN_S = 0.1
TIMEOUT_S = 30.0
READ_BYTES = 1 << 18
WANTED = (b'{"zxid"', b'{"snapshot"', b'{"node"', b'{"snapshotEnd"')


def follow(url: str, file: FileLines, authorization: str) -> None:
    """One connection, to its end.  Raises OSError, http.client.HTTPException."""
    end, cursor = find_end(file)
    file.truncate(end)
    since = f"&since={hex_of(cursor)}" if cursor else ""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        headers = {"Authorization": authorization}
        connection.request("GET", f"{parts.path}?format=ndjson&snapshot=true{since}", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{answer.status}: {answer.read(300)!r}")
        rest = b""
        while data := answer.read1(READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            whole = [line + b"\n" for line in lines if line.startswith(WANTED)]
            if whole:
                file.append(b"".join(whole))
    finally:
        connection.close()


def main(url: str, path: str, password: str) -> None:
    """Until it is killed."""
    authorization = "Basic " + base64.b64encode(password.encode()).decode()
    file = FileLines(path)
    while True:
        try:
            follow(url, file, authorization)
        except (OSError, http.client.HTTPException) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        time.sleep(AGAIN_S)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A peer to measure: a log server that works as the one that tailcast replaces.

Each connection has its own open file, sends the last 1000 lines as HTML, and looks once a second whether there is more.
Usage: original.py PORT
"""

import asyncio
import html
import sys
from urllib.parse import unquote, urlsplit

import websockets


async def follow(socket):
    path = unquote(urlsplit(socket.request.path).path)
    with open(path, errors="replace") as log:
        last = log.read().splitlines(keepends=True)[-1000:]
        await socket.send(html.escape("".join(last)))
        while True:
            await asyncio.sleep(1)
            more = log.read()
            if more:
                await socket.send(html.escape(more))


async def main(port):
    async with websockets.serve(follow, "127.0.0.1", port, compression=None, open_timeout=60):
        print(f"http://127.0.0.1:{port}/", flush=True)
        await asyncio.Future()


asyncio.run(main(int(sys.argv[1])))

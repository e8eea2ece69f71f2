"""Follows a log with the library that the original was written with, and prints what comes, a JSON object a line.

Usage: follow.py URL [SUBPROTOCOL]. A text `ping` is answered with `pong`, as the original's pages do.
"""

import asyncio
import json
import sys

import websockets


def say(**what):
    print(json.dumps(what), flush=True)


async def follow(url, subprotocols):
    async with websockets.connect(url, subprotocols=subprotocols) as socket:
        say(
            subprotocol=socket.subprotocol,
            offered=socket.request.headers.get("Sec-WebSocket-Extensions"),
            extensions=socket.response.headers.get("Sec-WebSocket-Extensions"),
        )
        try:
            while True:
                message = await socket.recv()
                if message == "ping":
                    await socket.send("pong")
                    say(ping=True)
                else:
                    say(text=message)
        except websockets.ConnectionClosed as closed:
            received = closed.rcvd
            say(close=received and received.code, reason=received and received.reason)


asyncio.run(follow(sys.argv[1], sys.argv[2:] or None))

"""Stands in for the speech function: a bare ASGI app that streams."""

import asyncio
import json
import os
from pathlib import Path

CHUNKS = 5
PAUSE = 0.15


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    action = scope["path"].rsplit("/", 1)[-1]
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if action == "healthz":
        await reply(send, b"")
    elif action == "die":
        os._exit(1)
    elif action == "echo":
        found = {
            "headers": headers,
            "body": body.decode(),
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
        }
        await reply(send, json.dumps(found).encode())
    else:
        await stream(scope, receive, send, action)


async def stream(scope, receive, send, action):
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"audio/wav"), (b"x-served", b"standin")],
        }
    )
    gone = asyncio.create_task(wait_gone(receive))
    try:
        for number in range(CHUNKS if action != "endless" else 10_000):
            await send(
                {
                    "type": "http.response.body",
                    "body": bytes([number % 256]) * 100,
                    "more_body": True,
                }
            )
            if action == "break" and number == 1:
                await asyncio.sleep(0.05)
                os._exit(1)
            await asyncio.wait((gone,), timeout=PAUSE)
            if gone.done():
                Path(os.environ["MARK"]).write_text("gone", encoding="utf-8")
                return
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def wait_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def reply(send, body):
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json")],
        }
    )
    await send({"type": "http.response.body", "body": body})

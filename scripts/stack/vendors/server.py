"""The process of the local vendors: Azure, Watson and the control on HTTP, Google on gRPC."""

from __future__ import annotations

import argparse
import asyncio
import signal

import grpc
from aiohttp import web
from pydantic import ValidationError

from vendors.azure import AzureServer
from vendors.google import GoogleServer
from vendors.orders import Order, Orders
from vendors.watson import WatsonServer

HOST = "127.0.0.1"


def application(orders: Orders) -> web.Application:
    """Azure, Watson and the control: their paths do not meet."""

    async def give(request: web.Request) -> web.Response:
        try:
            orders.give(Order.model_validate(await request.json()))
        except ValidationError as error:
            return web.Response(status=422, text=error.json(include_input=False))
        return web.Response(status=204)

    async def calls(_: web.Request) -> web.Response:
        return web.json_response(orders.record())

    async def settled(_: web.Request) -> web.Response:
        await orders.settled()
        return web.json_response(orders.record())

    async def release(_: web.Request) -> web.Response:
        orders.release()
        return web.Response(status=204)

    async def reset(_: web.Request) -> web.Response:
        orders.reset()
        return web.Response(status=204)

    app = web.Application()
    app.add_routes(AzureServer(orders).routes())
    app.add_routes(WatsonServer(orders).routes())
    app.router.add_post("/_control/orders", give)
    app.router.add_get("/_control/calls", calls)
    app.router.add_get("/_control/settled", settled)
    app.router.add_post("/_control/release", release)
    app.router.add_delete("/_control", reset)
    return app


async def serve(http_port: int, grpc_port: int) -> None:
    """Serves until it is told to end; prints a line when it answers."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    orders = Orders()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((GoogleServer(orders).handler(),))
    server.add_insecure_port(f"{HOST}:{grpc_port}")
    await server.start()
    runner = web.AppRunner(
        application(orders), access_log=None, handler_cancellation=True, shutdown_timeout=0.5
    )
    await runner.setup()
    await web.TCPSite(runner, HOST, http_port).start()
    print("ready", flush=True)
    await stop.wait()
    await runner.cleanup()
    await server.stop(grace=0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.http_port, options.grpc_port))

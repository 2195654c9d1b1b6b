"""The view in a browser, by textual-serve: each page that is opened runs the command anew."""

import shlex
import sys

import click
from aiohttp import web
from textual_serve.server import Server


class _Server(Server):
    async def on_startup(self, app: web.Application) -> None:
        click.echo(f"open {self.public_url} in a browser; Ctrl-C ends this")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        # Any page in the user's browser may connect to here; only ours may watch.
        if request.headers.get("Origin") != self.public_url:
            raise web.HTTPForbidden
        return await super().handle_websocket(request)


def serve(host: str, port: int) -> None:
    """Serve the view that this command line asks for, until SIGINT or SIGTERM."""
    _Server(shlex.join(sys.argv), host, port, title="damon top").serve()

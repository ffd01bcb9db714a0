"""Running the service: one process, its loop, and an end that finishes what was begun.

SIGTERM or Ctrl-C: no new connections; requests in flight are answered, up to some seconds; then impressions are
written, the index is closed, and the process ends with status 0.

uvicorn waits for ever for the head of a request. `Impatient` does not: a client that sends a header line a minute would
keep a connection for as long as it likes.
"""

import asyncio
import functools
import signal
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

_GRACE_SECONDS = 30
_KEEP_ALIVE_SECONDS = 15


class Impatient(H11Protocol):
    """HTTP by h11, whose heads of requests have to come within some seconds."""

    def __init__(self, *arguments: Any, header_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_seconds = header_seconds
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Wait while only a part of a head has come."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._head is not None:
            self._head.cancel()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        waits = self.conn.their_state is h11.IDLE
        if waits and self._head is None:
            self._head = self.loop.call_later(self._header_seconds, self._give_up)
        elif not waits and self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
            self.transport.close()


def run(app: FastAPI, *, host: str, port: int, header_seconds: float, ready: Any = None) -> None:
    """Serve until told to end; `ready` is called with the port once requests are answered."""
    protocol = functools.partial(Impatient, header_seconds=header_seconds)
    config = uvicorn.Config(app, host=host, port=port, http=protocol, access_log=False, log_level="warning",  # type: ignore[arg-type]
                            timeout_keep_alive=_KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=_GRACE_SECONDS,
                            server_header=False, lifespan="on")  # fmt: skip
    server = _Server(config, ready)
    # uvicorn raises the signal again when it has ended: let that be an ordinary end.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not server.started:
        raise OSError(f"cannot listen on {host}, port {port}: is it in use?")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Any) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready(self.servers[0].sockets[0].getsockname()[1])

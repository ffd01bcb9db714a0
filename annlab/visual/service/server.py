"""Running the service: one process, its loop, and an end that finishes what was begun.

SIGTERM or Ctrl-C: no new connections; requests in flight are answered, up to some seconds; then impressions are
written, the index is closed, and the process ends with status 0.

uvicorn waits for ever for the head of a request. `Impatient` does not: a client that sends a header line a minute would
keep a connection for as long as it likes.
"""

import asyncio
import functools
import gc
import signal
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LARGEST_HEAD = 64 * 2**10  # bytes
_GRACE_SECONDS = 30
_KEEP_ALIVE_SECONDS = 15
_SWITCH_SECONDS = 0.0005
"""How long a thread may compute while another waits for its turn. Python's 5 ms is longer than a search takes, and the
loop waits several times for every request: to read it, to hand it over, and to send the answer."""


class Impatient(HttpToolsProtocol):
    """HTTP whose heads of requests come within some seconds and are of some size, and that reads no body to its end
    which has been answered already."""

    def __init__(self, *arguments: Any, header_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_seconds = header_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._in_body = False
        self._bytes = 0
        """Of the head that is coming; in a body, of what follows the last part of it."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Wait while only a part of a head has come."""
        if not self._in_body:
            self._bytes += len(data)
            self._wait_for_head()
        super().data_received(data)
        if not self._in_body and self._bytes > _LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of this request is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those behind a body are no use, and may not be many."""
        if not self._in_body:
            super().on_header(name, value)
            return
        self._bytes += len(name) + len(value)
        if self._bytes > _LARGEST_HEAD:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self._in_body, self._bytes = True, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head may come."""
        self._in_body, self._bytes = False, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Close a connection whose request goes on after its answer: it may never end."""
        super().on_response_complete()
        if self._in_body and not self.pipeline and self.cycle.response_complete:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:  # the answer before it is still on its way
            self._wait_for_head()
        elif not self.transport.is_closing():
            self.transport.close()


def run(app: FastAPI, *, host: str, port: int, header_seconds: float, ready: Any = None) -> None:
    """Serve until told to end; `ready` is called with the port once requests are answered."""
    protocol = functools.partial(Impatient, header_seconds=header_seconds)
    config = uvicorn.Config(app, host=host, port=port, http=protocol, access_log=False, log_level="warning",  # type: ignore[arg-type]
                            timeout_keep_alive=_KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=_GRACE_SECONDS,
                            server_header=False, lifespan="on", ws="none")  # fmt: skip
    server = _Server(config, ready)
    prepare_the_interpreter()
    # uvicorn raises the signal again when it has ended: let that be an ordinary end.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not server.started:
        raise OSError(f"cannot listen on {host}, port {port}: is it in use?")


def prepare_the_interpreter() -> None:
    """For answers in few milliseconds: threads hand over more often, and what has been made by now, of which nearly all
    stays, is no longer looked through for garbage, which would stop all threads for tens of milliseconds."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Any) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready(self.servers[0].sockets[0].getsockname()[1])

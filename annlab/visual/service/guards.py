"""What stands before every request, whatever it asks for: small wrappers round the application (ASGI middleware).

    Headers     says what browsers may do with an answer: run no script but our own, show it in no other page
    Origins     refuses what another site's page makes a browser send, and names that are not ours (DNS rebinding)
    InFlight    so many requests at once, and no more
    SlowBody    the body of a request comes within some time
    Crashes     an error of our own is logged, and answered without a word of the inside
    LargeBody   and is of some size, however it is sent
    Measured    counts and times every request

A browser sends its cookie, and a machine without keys believes everybody, so both need `Origins`: a request that
changes something must come from this very site. Programs say nothing of where they come from, and are let in.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers as RequestHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annlab.visual.service.metrics import Metrics

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
)
_log = logging.getLogger(__name__)
_SAFE = ("GET", "HEAD", "OPTIONS")


class Headers:
    """Adds what every answer says to browsers; where nothing else is said, an answer is not kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.setdefault("headers", [])
                names = {name.lower() for name, _ in given}
                given.extend(each for each in _HEADERS if each[0] not in names)
            await send(message)

        await self.app(scope, receive, send_with if scope["type"] == "http" else send)


class Origins:
    """Refuses names that are not the service's, and changes that another site's page asks for."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope["method"], RequestHeaders(scope=scope))
            if refusal is not None:
                await JSONResponse({"detail": refusal[1]}, refusal[0])(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _refusal(self, method: str, headers: RequestHeaders) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if "*" not in self.hosts and _name_of(host) not in self.hosts:
            return 421, "this service is not called by that name: see --host-name"
        if method in _SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or (site is not None and site not in ("same-origin", "none")):
            return 403, "a page of another site may change nothing here"
        return None


def _name_of(host: str) -> str:
    """The name without the port; an IPv6 address keeps its brackets."""
    name = host.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


class InFlight:
    """Lets so many requests in at once; the others are told to come again. Whether it is well is always told."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most, self.now = app, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            await self.app(scope, receive, send)
        elif self.now >= self.most:
            busy = JSONResponse({"detail": "too many requests at once: come again"}, 503, {"Retry-After": "1"})
            await busy(scope, receive, send)
        else:
            self.now += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self.now -= 1


class SlowBody:
    """Cuts off a client whose body does not come within some time."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        until, complete = time.monotonic() + self.seconds, False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:  # what comes now is that the client has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                # FastAPI makes 400 of any other error that comes out of reading a body.
                raise HTTPException(408, f"the request did not come within {self.seconds:g} s",
                                    {"Connection": "close"}) from None  # fmt: skip
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        await self.app(scope, receive_in_time if scope["type"] == "http" else receive, send)


class LargeBody:
    """Refuses a body of more bytes than are taken: at once where its length is told, else as soon as they have come."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        words, close, came = f"a request has at most {self.most:,} bytes", {"Connection": "close"}, 0
        told = RequestHeaders(scope=scope).get("content-length", "")
        if told.isdecimal() and int(told) > self.most:
            await JSONResponse({"detail": words}, 413, close)(scope, receive, send)
            return

        async def receive_some() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self.most:
                raise HTTPException(413, words, close)
            return message

        await self.app(scope, receive_some, send)


class Crashes:
    """Answers errors that nobody expected, under the other guards, so that their headers and counts hold for it too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_noting)
        except Exception:
            if scope["type"] != "http":
                raise
            _log.exception("%s %s", scope["method"], scope["path"])
            if started:
                raise
            await JSONResponse({"detail": "something went wrong here; it is in the log"}, 500)(scope, receive, send)


class Measured:
    """Counts and times every request by its route, so that ids in paths make no new series."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self.app, self.metrics, self.clock = app, metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = self.clock(), 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noting)
        finally:
            route: Any = scope.get("route")
            name = getattr(route, "path", None) or "other"
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PATCH", "DELETE") else "other"
            self.metrics.request(method, name, status, self.clock() - started)

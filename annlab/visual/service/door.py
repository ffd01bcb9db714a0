"""Who is at the door: the key of a request, the role that a route needs, and how often somebody may ask."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from annlab.visual.service.core import Service
from annlab.visual.service.keys import Person, Role

COOKIE = "annlab_key"
ANYBODY = Person(None, "somebody", "admin")
"""Where no keys are asked for."""

_bearer = HTTPBearer(auto_error=False, description="A key that `annlab keys add` made.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The same key, as the page keeps it.")
Given = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
Kept = Annotated[str | None, Security(_cookie)]


class Door:
    """Makes the dependencies of routes that say who is asking."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def needs(self, role: Role, cost: float = 1.0) -> Callable[..., Awaitable[Person]]:
        """A dependency that is the person, if the role suffices; else a refusal: 401 without a key, 403, or 429."""

        async def person(request: Request, given: Given, kept: Kept) -> Person:
            return await self.let_in(request, given.credentials if given is not None else kept, role, cost)

        return person

    async def let_in(self, request: Request, key: str | None, role: Role, cost: float = 1.0) -> Person:
        """Whoever asks with a key, if the role suffices; else a refusal."""
        found = ANYBODY
        if self._service.settings.keys:
            found = await self.person_of(key, request)
        name = f"user {found.user_id}" if found.user_id is not None else address_of(request)
        self.take(name, cost)
        if not found.may(role):
            raise HTTPException(403, f"this needs the role {role}; yours is {found.role}")
        return found

    async def person_of(self, key: str | None, request: Request) -> Person:
        """Whose a key is; a key that is nobody's costs more, so that nobody tries many."""
        if key:
            known, person = self._service.keys.remembered(key)
            if not known:
                self.take(address_of(request), 5.0)
                person = await run_in_threadpool(self._service.keys.look_up, key)
            if person is not None:
                return person
        self.take(address_of(request), 1.0)
        raise HTTPException(401, "this key is not known" if key else "a key is needed",
                            {"WWW-Authenticate": "Bearer"})  # fmt: skip

    def take(self, name: str, cost: float) -> None:
        """Count a request against somebody's share."""
        wait = self._service.limit.wait(name, cost)
        if wait > 0:
            raise HTTPException(429, "too many requests: come again later", {"Retry-After": str(int(wait) + 1)})


async def key_of(request: Request) -> str | None:
    """The key of a request as FastAPI's dependencies find it, for those who do without them."""
    given = await _bearer(request)
    return given.credentials if given is not None else await _cookie(request)


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return f"address {request.client.host}" if request.client is not None else "nowhere"

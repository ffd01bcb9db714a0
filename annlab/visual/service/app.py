"""The application: routes, guards, what errors become, and the page."""

import contextlib
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse, Response

from annlab import __version__
from annlab.durable import InUseError
from annlab.encoders.images import FormatError, TooLargeError
from annlab.visual.catalog import CatalogError, StaleIndexError
from annlab.visual.cursors import StaleCursor
from annlab.visual.search import NotFound, QueryError, VisualSearch
from annlab.visual.service import guards
from annlab.visual.service.core import Service
from annlab.visual.service.door import Door
from annlab.visual.service.routes_engines import engine_routes
from annlab.visual.service.routes_feedback import feedback_routes
from annlab.visual.service.routes_images import image_routes
from annlab.visual.service.routes_search import search_routes, short_way
from annlab.visual.service.routes_status import status_routes
from annlab.visual.service.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "page"

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (StaleCursor, 410),
    (QueryError, 400),
    (TooLargeError, 413),
    (FormatError, 415),
    (CatalogError, 409),
    (PermissionError, 403),
    (StaleIndexError, 503),
    (InUseError, 503),  # while another encoder is being promoted
    (OSError, 503),  # of them StorageError: the database does not answer
    (ValueError, 422),
)
"""What errors become: the first class that fits, its message as the detail."""


def create_app(search: VisualSearch, *, settings: Settings) -> FastAPI:
    """The service as an ASGI application. It does not close `search`, unless it goes on with another encoder."""
    service = Service(search, settings)
    door = Door(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
        try:
            yield
        finally:
            service.close()

    app = FastAPI(title="annlab", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
                  description="Visual search: images in, ranked similar images out.",
                  openapi_url="/openapi.json")  # fmt: skip
    app.router.routes.append(short_way(service, door))
    for routes in (search_routes, image_routes, feedback_routes, status_routes, engine_routes):
        app.include_router(routes(service, door))
    _add_page(app)
    _add_errors(app)
    # The last one added is the outermost.
    app.add_middleware(guards.Crashes)
    app.add_middleware(guards.LargeBody, most=settings.most_bytes)
    app.add_middleware(guards.SlowBody, seconds=settings.body_seconds)
    app.add_middleware(guards.InFlight, most=settings.most_in_flight)
    app.add_middleware(guards.Origins, hosts=settings.hosts)
    app.add_middleware(guards.Headers)
    app.add_middleware(guards.Measured, metrics=service.metrics)
    app.state.service = service
    return app


def _add_errors(app: FastAPI) -> None:
    async def refused(request: Request, error: Exception) -> JSONResponse:
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        detail = str(error.args[0]) if error.args else str(error)
        return JSONResponse({"detail": detail[:500]}, status, {"Retry-After": "5"} if status == 503 else None)

    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        """What is out of its range, without what was sent: it may be long, or no JSON at all."""
        parts = [f"{'.'.join(str(part) for part in each['loc'][:4])}: {each['msg']}" for each in error.errors()[:5]]
        return JSONResponse({"detail": "; ".join(parts)[:1000]}, 422)

    for kind, _ in _STATUSES:
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(RequestValidationError, invalid)  # type: ignore[arg-type]


def _add_page(app: FastAPI) -> None:
    """The files of the page, read once: no name from outside ever reaches the file system."""
    files: dict[str, tuple[bytes, str]] = {}
    for path in sorted(PAGE.iterdir()):
        kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0]
        files[path.name] = path.read_bytes(), kind or "application/octet-stream"

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return _file("index.html")

    @app.api_route("/page/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(name: str) -> Response:
        return _file(name)

    def _file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "there is no such file")
        content, kind = files[name]
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

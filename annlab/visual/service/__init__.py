"""The service: search over HTTP, for programs and for the page.

    settings.py     what is allowed: sizes, rates, times
    keys.py         API keys and roles;      door.py      who is at the door
    guards.py       what stands before every request
    core.py         what routes share: who may see what, adding, deleting, tidying up
    words.py        words from outside
    routes_*.py     search, images, feedback, status, engines;     answers.py    their shapes
    browsing.py     images to begin with, and what to filter by
    impressions.py  result lists, written behind the answers
    pooling.py      candidates for judging
    engines.py      other kinds of index, to compare
    picturing.py    pictures in and out
    app.py          the application;         server.py    running it
    ../page/        the page: HTML, CSS and JavaScript, as they are sent

Needs `pip install "annlab[serve]"`.
"""

try:
    import fastapi as _fastapi  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError('the service needs FastAPI and uvicorn: pip install "annlab[serve]"') from error

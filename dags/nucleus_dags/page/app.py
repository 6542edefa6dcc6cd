"""The application: its sections, what all pages share, and what they say when something is wrong."""

from __future__ import annotations

import logging

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import UndefinedError
from starlette.exceptions import HTTPException as AnyHTTPException

from nucleus_dags.errors import FormError
from nucleus_dags.page import add_plate, annotate, models, plates, results, runs, settings, starting
from nucleus_dags.page.access import to_login
from nucleus_dags.page.damaged import DAMAGED, DamagedFile
from nucleus_dags.page.rendering import HERE, page

log = logging.getLogger(__name__)
app = FastAPI(title="Nuclei", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=HERE / "static"))
app.mount("/leaflet", StaticFiles(packages=[("js_lib_leaflet", "static/js_lib_leaflet")]))
# What is added has an address that could be a plate's, and what is started one that could be a run's.
for section in (add_plate, plates, starting, runs, models, results, annotate, settings):
    app.include_router(section.router)


@app.get("/")
def start(request: Request) -> Response:
    """Begin with the plates."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/plates", 303)


@app.exception_handler(AnyHTTPException)
async def say_what_is_wrong(request: Request, error: HTTPException) -> Response:
    """Answer with a page; to who isn't logged in, with Airflow's login."""
    if error.status_code == 401 and request.method == "GET":
        return to_login(request)
    return _said(request, error.detail, error.status_code)


@app.exception_handler(FormError)
async def say_what_was_asked_for(request: Request, error: FormError) -> Response:
    """Answer likewise where a person asked for something that isn't there, or sent what can't be taken."""
    return _said(request, str(error), 404 if request.method == "GET" else 422)


@app.exception_handler(RequestValidationError)
async def say_what_is_no_value(request: Request, error: RequestValidationError) -> Response:
    """Answer likewise to an address, or what a script sent, that can't be read."""
    problems = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return _said(request, "; ".join(problems) + ".", 404 if request.method == "GET" else 422)


async def say_what_cannot_be_read(request: Request, error: Exception) -> Response:
    """Answer likewise where a file of the store or the inbox is gone, damaged or of somebody else."""
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    known = str(error) if isinstance(error, OSError | DamagedFile) else f"{type(error).__name__}: {error}"
    message = (
        f"A file is lost or damaged, or can't be read or written: {known}. Restore it from a backup, or move what is "
        "damaged out of the store and start its run again; the log of Airflow's API server says more."
    )
    return _said(request, message, 404 if isinstance(error, FileNotFoundError) else 500)


# What a file lacks may also show where the page is put together.
for kind in (*DAMAGED, UndefinedError):
    app.add_exception_handler(kind, say_what_cannot_be_read)


def _said(request: Request, message: str, status: int) -> Response:
    """Give a page, or the message to a script, which shows it itself."""
    if request.method == "GET" and request.headers.get("Accept") != "application/json":
        return page(request, "error", status=status, message=message)
    return JSONResponse({"detail": message}, status)

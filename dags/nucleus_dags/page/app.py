"""The application: its sections, what all pages share, and what they say when something is wrong."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from nucleus_dags.page import plates
from nucleus_dags.page.access import to_login
from nucleus_dags.page.rendering import HERE, page

app = FastAPI(title="Nuclei", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=HERE / "static"))
for section in (plates,):
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
    return page(request, "error", status=error.status_code, message=error.detail)

"""What all of this package needs of MLflow: its address and patience, failures in words, whole searches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

# MLflow's own defaults keep a task waiting for minutes when the server is away.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList

from tasks.contract import ServiceError

T = TypeVar("T")

DAG_RUN_TAG = "dag_run_id"
NOTE_TAG = "mlflow.note.content"
"""The description at the top of a run's page."""


class TrackingError(ServiceError):
    """MLflow can't be reached or refuses. Nothing is lost: the task may be run again to log its result."""


def run_page_link() -> str:
    """Give, in Markdown, the way to the page of the DAG run that this task belongs to; empty where none is known."""
    page = os.environ.get("NUCLEUS_RUN_PAGE")
    return f"[The run that made it]({page})" if page else ""


@contextmanager
def failures_named() -> Iterator[None]:
    """Raise what MLflow refuses, or that it doesn't answer, as TrackingError."""
    try:
        yield
    except (MlflowException, OSError) as error:
        where = mlflow.get_tracking_uri()
        raise TrackingError(
            f"MLflow at {where} doesn't answer or refuses ({str(error).splitlines()[0]:.200}); "
            "start it or correct MLFLOW_TRACKING_URI and run the task again: finished results are in the store."
        ) from error


def made_once(find: Callable[[], list[T]], make: Callable[[], object]) -> list[T]:
    """Find something, or make it first. There may be two: MLflow's client asks again when an answer is late."""
    if found := find():
        return found
    try:
        make()
    except MlflowException:
        # The server may have done it all the same, or somebody else was a moment earlier.
        if not find():
            raise
    return find()


def all_pages(search: Callable[..., PagedList[Any]]) -> Iterator[Any]:
    """Give the finds of all pages of a search."""
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page

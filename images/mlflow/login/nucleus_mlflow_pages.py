"""Addresses by which others lead to a page of MLflow, who know a run but not its experiment.

MLflow's own address of that kind, `#/runs/ID`, opens its pages for language models, without charts and metrics. These
lead on to the pages for trainings:

    /runs/ID                     the page of a run
    /runs/ID/scores/f1.csv       an artifact of it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

TRAINING_PAGES = "?workflowType=machine_learning"


def routes(experiment_of: Callable[[str], str | None]) -> list[Route]:
    """Give the routes; `experiment_of` gives the id of a run's experiment, None for a run that there isn't."""

    # No coroutine: the look at MLflow's database must not keep other requests waiting.
    def lead_on(request: Request) -> Response:
        run_id, artifact = request.path_params["run_id"], request.path_params.get("artifact", "")
        experiment_id = experiment_of(run_id)
        if experiment_id is None:
            return PlainTextResponse(f"MLflow has no run {run_id}; it may have been deleted.", 404)
        place = f"/artifacts/{quote(artifact)}" if artifact else ""
        page = f"#/experiments/{experiment_id}/runs/{run_id}{place}{TRAINING_PAGES}"
        return RedirectResponse(f"{request.scope.get('root_path', '')}/{page}")

    return [Route("/runs/{run_id}", lead_on), Route("/runs/{run_id}/{artifact:path}", lead_on)]


def experiment_in_mlflow(run_id: str) -> str | None:
    """Give the id of a run's experiment, as MLflow's own database has it."""
    # Only the process that serves has a database.
    from mlflow.exceptions import MlflowException
    from mlflow.server.handlers import _get_tracking_store

    database: Any = _get_tracking_store()
    try:
        return str(database.get_run(run_id).info.experiment_id)
    except MlflowException:
        return None

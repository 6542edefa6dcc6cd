"""Addresses of MLflow's pages for trainings: without more it opens those for language models."""

from __future__ import annotations

import os
from urllib.parse import quote


def mlflow_page() -> str:
    """Give the address at which browsers find MLflow: in a cluster, another one than that for tasks."""
    return os.environ.get("NUCLEUS_MLFLOW_PAGE") or os.environ.get("MLFLOW_TRACKING_URI", "")


def training_pages(mlflow: str) -> str:
    """Give the address of the list of experiments."""
    return f"{mlflow}/#/experiments?workflowType=machine_learning"


def runs_on_plate(mlflow: str, experiment_id: str, plate: str) -> str:
    """Give the address of the list of the runs of an experiment that were about a plate."""
    wanted = quote(f'tags.plate = "{plate}"', safe="")
    return f"{mlflow}/#/experiments/{experiment_id}/runs?searchFilter={wanted}&workflowType=machine_learning"


def version_page(mlflow: str, model: str, version: int) -> str:
    """Give the address of a version of a registered model."""
    return f"{mlflow}/#/models/{model}/versions/{version}"

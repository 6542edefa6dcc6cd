"""MLflow in a database of the test's own."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import pytest
from mlflow import MlflowClient


def track_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow keep its runs and models in `folder`/mlflow.db, which is empty."""
    (folder / "mlflow.db").write_bytes(_empty_database())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")


@cache
def _empty_database() -> bytes:
    """Give a database with MLflow's tables. Making it takes a second, copying it nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{path}").search_experiments()
        return path.read_bytes()

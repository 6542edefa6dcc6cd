"""DAG runs and their MLflow runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from nucleus_dags.planning.types import RunsToClose, RunToOpen


class Plate(Protocol):
    """A plate in the inbox or in the store."""

    @property
    def name(self) -> str: ...

    @property
    def cell_line(self) -> str: ...


MOST_NAMED = 3
"""So many plates stand by name in the name of a run."""
MOST_LETTERS = 70


def training_to_open(
    experiment: str, dag_run_id: str, what: Sequence[str], plates: Iterable[Plate], children: Iterable[str] = ()
) -> RunToOpen:
    """Give the params of `open_run` for a training, whose name says what is trained on which plates."""
    on_plates = f"on {plates_in_words(list(plates))} · {run_name(dag_run_id)}"
    return {
        "experiment": experiment,
        "dag_run_id": dag_run_id,
        "run_name": f"{_shortened(' + '.join(what))} {on_plates}",
        "children": list(children),
        "name_of_children": on_plates,
    }


def plates_in_words(plates: Sequence[Plate]) -> str:
    """Name some plates, or count many with their cell lines."""
    names, lines = [plate.name for plate in plates], sorted({plate.cell_line for plate in plates} - {""})
    if len(names) <= MOST_NAMED:
        return _shortened(" + ".join(names))
    return _shortened(f"{len(names)} plates of {' + '.join(lines)}" if lines else f"{len(names)} plates")


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def run_to_open(experiment: str, dag_run_id: str, prefix: str = "", children: Iterable[str] = ()) -> RunToOpen:
    """Give the params of `open_run` for a DAG run."""
    return {
        "experiment": experiment,
        "dag_run_id": dag_run_id,
        "run_name": f"{prefix}{run_name(dag_run_id)}",
        "children": list(children),
    }


def run_name(dag_run_id: str) -> str:
    """Date and time to the second from `manual__2026-11-23T04:18:05.123456+00:00`, or the whole id."""
    begun = re.search(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)", dag_run_id)
    return " ".join(begun.groups()) if begun else dag_run_id


def runs_to_close(mlflow_run_id: str, parts: Iterable[Mapping[str, Any]] | None, succeeded: bool) -> RunsToClose:
    """Give the params of `close_run` for the MLflow run of a DAG run and those of its parts."""
    run_ids = [mlflow_run_id, *(part["mlflow_run_id"] for part in parts or [])]
    return {"mlflow_run_ids": list(dict.fromkeys(run_ids)), "succeeded": succeeded}

"""The end of a DAG run: a table of F1 in the log and in the note of the run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError
from nucleus_dags.launchers.task_operator import FAILURE_KEY, mlflow_run_url
from nucleus_dags.manifest import manifest

NOTE_CHARACTERS = 1000
"""Airflow refuses a longer note."""

FAILURE = "A task failed or was stopped; its log says why. Clear it to resume: what is done isn't done again."

MOST_FAILURES = 3

log = logging.getLogger(__name__)


def show_summary(
    mlflow_run_id: str, scores: Mapping[str, Mapping[str, float]], succeeded: bool, remarks: Sequence[str] = ()
) -> None:
    """Show the metrics of `score`, by the names of the methods, and remarks on plates, in the log and in the note."""
    # The page of a run shows the first line of its note alone.
    pointer = "; look at the remarks below" if remarks else ""
    lines = [f"{in_short(scores)}{pointer}", "", *f1_table(scores)] if scores else ["No scores."]
    if not succeeded:
        lines = [*failure_lines(), "", *lines]
    show_lines([*lines, "", f"[MLflow run]({mlflow_run_url(mlflow_run_id)})", "", *remarks])


def fail_with(reason: str) -> NoReturn:
    """Let the task fail for a reason that a person can remove, and show it in the note of the run."""
    show_lines([reason])
    raise AirflowFailException(reason) from None


def failure_lines() -> list[str]:
    """Say which tasks of this DAG run failed, and why as far as they said it themselves; the first line is the first.

    A part of a mapped task that failed for the reason of another one isn't told of again.
    """
    context = get_current_context()
    reasons = {
        f"{task_id} failed: {reason}": None
        for task_id in context["dag"].task_ids
        for reason in context["ti"].xcom_pull(task_ids=[task_id], key=FAILURE_KEY)
        if reason
    }
    lines = list(reasons)[:MOST_FAILURES]
    return [*lines, "", FAILURE] if lines else [FAILURE]


def show_remarks(remarks: Sequence[str]) -> None:
    """Show what a person should know of the plates before the work is done; nothing where there is nothing."""
    if remarks:
        show_lines(["Look at these plates:", "", *remarks])


def show_lines(lines: Sequence[str]) -> None:
    """Show lines of Markdown in the log and in the note of the run."""
    shown = without_gaps(lines)
    for line in shown:
        log.info("%s", line)
    _set_note(fitting_note(shown))


def without_gaps(lines: Sequence[str]) -> list[str]:
    """Leave out empty lines at the end and behind one another: a part between two may have had nothing to say."""
    return [line for line, following in pairwise([*lines, ""]) if line or following]


def fitting_note(lines: Sequence[str]) -> str:
    """Give as many lines as a note may hold, or the beginning of a first line that is longer than that.

    If that isn't all, the last one says where the others are.
    """
    note = "\n".join(lines)
    if len(note) <= NOTE_CHARACTERS:
        return note
    rest = "\n\nMore is in the log of this task."
    kept = note[: NOTE_CHARACTERS - len(rest)]
    return (kept.rpartition("\n")[0].rstrip() or kept) + rest


def in_short(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Give F1 of all cell lines in one line, by method if there are several; the baseline is left out."""
    scores = {name: of_one for name, of_one in scores.items() if name != manifest()["baseline"]["name"]} or scores
    shown = {
        name: ", ".join(f"F1 at {t}: {metrics[f'f1_at_{t}/all']:.3f}" for t in _shown_thresholds())
        for name, metrics in scores.items()
    }
    return "; ".join(shown.values() if len(shown) == 1 else (f"{name}: {text}" for name, text in shown.items()))


def f1_table(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Give the lines of a Markdown table of F1 per method and cell line from metrics such as `f1_at_0.7/MCF10A`."""
    first = f"f1_at_{_shown_thresholds()[0]}/"
    rows = [["method", "cell line", *(f"F1 at {t}" for t in _shown_thresholds())]]
    for method, metrics in scores.items():
        for cell_line in (name.removeprefix(first) for name in metrics if name.startswith(first)):
            values = [f"{metrics[f'f1_at_{t}/{cell_line}']:.3f}" for t in _shown_thresholds()]
            rows.append([method, cell_line, *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *lines = (
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows
    )
    return [header, f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines]


def _shown_thresholds() -> list[float]:
    return manifest()["shown_iou_thresholds"]


def _set_note(note: str) -> None:
    """Set the note of this DAG run; where Airflow's page can't be called, only the log has it."""
    address, path = os.environ.get("NUCLEUS_AIRFLOW"), os.environ.get("NUCLEUS_AIRFLOW_LOGIN")
    if not address or not path:
        return
    dag_run = get_current_context()["dag_run"]
    try:
        AirflowApi(address, _login(Path(path))).set_note(dag_run.dag_id, dag_run.run_id, note)
    except AirflowApiError as error:
        log.info("The note of the DAG run stays empty: %s", error)


def _login(path: Path) -> tuple[str, str]:
    """Give name and password, the first of a file that holds passwords by name."""
    name, password = next(iter(json.loads(path.read_text()).items()))
    return name, password

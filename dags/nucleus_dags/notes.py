"""The end of a DAG run: a table of F1 in the log and in the note of the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NoReturn

from airflow.sdk import get_current_context

from nucleus_dags.launchers.task_operator import mlflow_run_url
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.usability import shortcoming
from nucleus_dags.run_note import FAILURE_KEY, WITHOUT_A_WORD, NotedFailure, failed_tasks, fitting_note, set_note

FAILURE = "A task failed or was stopped; its log says why. Clear it to resume: what is done isn't done again."

MOST_FAILURES = 3

log = logging.getLogger(__name__)


def show_summary(
    mlflow_run_id: str,
    scores: Mapping[str, Mapping[str, float]],
    succeeded: bool,
    remarks: Sequence[str] = (),
    champion: str = "",
) -> None:
    """Show the metrics of `score`, by the names of the methods, and remarks on plates, in the log and in the note.

    `champion` is a sentence, where one of the models has become it.
    """
    # The page of a run shows the first line of its note alone.
    pointer = "; look at the remarks below" if remarks else ""
    lines = [f"{in_short(scores)}{pointer}", "", champion, "", *f1_table(scores)] if scores else ["No scores."]
    if not succeeded:
        lines = [*failure_lines(), "", *lines]
    show_lines([*lines, "", f"[MLflow run]({mlflow_run_url(mlflow_run_id)})", "", *remarks])


def fail_with(reason: str) -> NoReturn:
    """Let the task fail for a reason that a person can remove, and show it in the note of the run."""
    show_lines([reason])
    raise NotedFailure(reason) from None


def failure_lines() -> list[str]:
    """Say which tasks of this DAG run failed and why, and what to do; the first line is the first failure."""
    lines = failures()
    return [*lines, "", FAILURE] if lines else [FAILURE]


def failures() -> list[str]:
    """Say which tasks of this DAG run failed, and why as far as they said it themselves.

    A part of a mapped task that failed for the reason of another one isn't told of again.
    """
    context = get_current_context()
    ti = context["ti"]
    reasons = [
        (task_id, reason)
        for task_id in context["dag"].task_ids
        for reason in ti.xcom_pull(task_ids=[task_id], key=FAILURE_KEY)
        if reason
    ]
    # A process that was killed leaves no reason behind.
    told = {task_id for task_id, _ in reasons}
    reasons += [(name, WITHOUT_A_WORD) for name in failed_tasks(ti.dag_id, ti.run_id) if name not in told]
    return list(dict.fromkeys(f"{task_id} failed: {reason}" for task_id, reason in reasons))[:MOST_FAILURES]


def show_remarks(remarks: Sequence[str]) -> None:
    """Show what a person should know of the plates before the work is done; nothing where there is nothing."""
    if remarks:
        show_lines(["Look at these plates:", "", *remarks])


def show_lines(lines: Sequence[str]) -> None:
    """Show lines of Markdown in the log and in the note of the run."""
    shown = without_gaps(lines)
    for line in shown:
        log.info("%s", line)
    dag_run = get_current_context()["dag_run"]
    set_note(dag_run.dag_id, dag_run.run_id, fitting_note(shown))


def without_gaps(lines: Sequence[str]) -> list[str]:
    """Leave out empty lines at the end and behind one another: a part between two may have had nothing to say."""
    return [line for line, following in pairwise([*lines, ""]) if line or following]


def champion_in_words(version: int) -> str:
    """Say that the first model of an installation has become champion."""
    return f"Version {version} is the first model, so it is the champion now: `segment_plate` segments with it."


def in_short(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Give F1 of all cell lines in one line, by method if there are several; the baseline is left out.

    What finds no nucleus, or misses too many, says so before its F1.
    """
    scores = {name: of_one for name, of_one in scores.items() if name != manifest()["baseline"]["name"]} or scores
    shown = {
        name: ": ".join(filter(None, [shortcoming(metrics), _f1_in_short(metrics)])) for name, metrics in scores.items()
    }
    return "; ".join(shown.values() if len(shown) == 1 else (f"{name}: {text}" for name, text in shown.items()))


def f1_table(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Give the lines of a Markdown table of F1 per method and cell line from metrics such as `f1_at_0.7/MCF10A`."""
    first = f"f1_at_{_shown_thresholds()[0]}/"
    rows = [["method", "cell line", *(f"F1 at {t}" for t in _shown_thresholds()), ""]]
    for method, metrics in scores.items():
        for cell_line in (name.removeprefix(first) for name in metrics if name.startswith(first)):
            values = [f"{metrics[f'f1_at_{t}/{cell_line}']:.3f}" for t in _shown_thresholds()]
            rows.append([method, cell_line, *values, shortcoming(metrics, cell_line)])
    # A column in which nothing is said is none.
    rows = rows if any(row[-1] for row in rows) else [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *lines = (
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows
    )
    return [header, f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines]


def _f1_in_short(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"F1 at {t}: {metrics[f'f1_at_{t}/all']:.3f}" for t in _shown_thresholds())


def _shown_thresholds() -> list[float]:
    return manifest()["shown_iou_thresholds"]

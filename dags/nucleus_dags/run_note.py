"""The note of a DAG run as Airflow keeps it, and on top of it the tasks that failed, whichever of whichever DAG."""

from __future__ import annotations

import json
import logging
import os
import re
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError
from nucleus_dags.run_page import with_link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTE_CHARACTERS = 1000
"""Airflow refuses a longer note."""
FAILURE_KEY = "failure"
"""XCom of a task that failed: why, in a sentence."""
TIME_AND_TASK = re.compile(r"^(\d\d:\d\d:\d\d )?\w+: ")
"""What a task's line begins with; a message that it leaves for the kubelet has no time."""
WITHOUT_A_WORD = "it ended without a word, or was stopped; its log says more."

log = logging.getLogger(__name__)


class NotedFailure(AirflowFailException):
    """Lets a task fail, without a retry, whose reason the note of the DAG run has already."""


def reason_of(error: BaseException | str | None) -> str:
    """Give why a task failed, without the time and the name of the task before it."""
    return TIME_AND_TASK.sub("", str(error or "")) or WITHOUT_A_WORD


def note_failure(context: Mapping[str, Any]) -> None:
    """Put a task that failed for good on top of the note, and leave its reason for whoever writes the note anew.

    A callback of all tasks: a DAG run that ends before its last task, or that has none to say it, has a note too.
    """
    ti, error = context["ti"], context.get("exception")
    if isinstance(error, NotedFailure):
        return
    reason = reason_of(error)
    # The process of a task that was killed can leave nothing behind; its note is written by another one.
    with suppress(Exception):
        ti.xcom_push(FAILURE_KEY, reason)
    lines = note_of(ti.dag_id, ti.run_id).splitlines()
    # What failed first is mostly the reason of what failed after it.
    failures = list(takewhile(lambda line: " failed: " in line, lines))
    rest = lines[len(failures) :]
    failures += [line for line in [f"{ti.task_id} failed: {reason}"] if line not in failures]
    set_note(ti.dag_id, ti.run_id, fitting_note([*failures, *(rest if not rest or not rest[0] else ["", *rest])]))


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


def note_of(dag_id: str, dag_run_id: str) -> str:
    """Give the note as it is; empty where there is none or Airflow's API can't be called."""
    with suppress(AirflowApiError):
        api = _api()
        return str((api.dag_run(dag_id, dag_run_id)["note"] if api else None) or "")
    return ""


def set_note(dag_id: str, dag_run_id: str, note: str) -> None:
    """Set the note, with the way to the page of the run; where Airflow's API can't be called, only the log has it."""
    api = _api()
    if api is None:
        return
    try:
        api.set_note(dag_id, dag_run_id, with_link(note, dag_id, dag_run_id, NOTE_CHARACTERS))
    except AirflowApiError as error:
        log.info("The note of the DAG run stays empty: %s", error)


def failed_tasks(dag_id: str, dag_run_id: str) -> list[str]:
    """Give the tasks of which a part failed, as far as Airflow's API says so."""
    with suppress(AirflowApiError):
        api = _api()
        instances = api.task_instances(dag_id, dag_run_id) if api else []
        return list(dict.fromkeys(one["task_id"] for one in instances if one["state"] == "failed"))
    return []


def _api() -> AirflowApi | None:
    address, path = os.environ.get("NUCLEUS_AIRFLOW"), os.environ.get("NUCLEUS_AIRFLOW_LOGIN")
    return AirflowApi(address, _login(Path(path))) if address and path else None


def _login(path: Path) -> tuple[str, str]:
    """Give name and password, the first of a file that holds passwords by name."""
    name, password = next(iter(json.loads(path.read_text()).items()))
    return name, password

"""Turn a task of the catalogue into an Airflow operator. A DAG doesn't know which kind it gets.

`NUCLEUS_LAUNCHER` chooses the kind in one place, `_operator_type`: so far `local`, a process on this
machine. Pods will be one more operator class, which takes `settings`, `inputs`, `each` and
`mlflow_run_id` and runs the entry's `command` in a container; it is to be imported there and not
above, because the import of its provider is slow.

The environment of the Airflow servers says where things are: `NUCLEUS_STORE` (folder of all
results) and `MLFLOW_TRACKING_URI`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from nucleus_dags.catalogue import CATALOGUE

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg
    from airflow.sdk.types import TaskInstanceKey

REPOSITORY = Path(__file__).resolve().parents[2]
DONE, BAD_INPUT, NOTHING_TO_DO = 0, 2, 99
KILL_GRACE_S = 3.0
"""Airflow kills the process that calls `on_kill` five seconds after asking it to end."""
SMALL_RESULT = ("task", "key", "outputs", "metrics", "counts", "seconds", "reused", "mlflow_run_id")


def launch(
    task: str,
    *,
    settings: XComArg | None = None,
    inputs: dict[str, Any] | None = None,
    each: XComArg | None = None,
    mlflow_run_id: XComArg | None = None,
    task_id: str | None = None,
    map_index_template: str | None = None,
) -> Any:
    """Give the operator that runs a task of the catalogue, a mapped one if `each` is given.

    `settings` is a dict with what a person chose, `inputs` a dict with outputs of earlier tasks,
    `each` a list of dicts: the task runs once for each of them, side by side. Together they are the
    task's params. Every output of the task is an XCom of its own: `operator.output["plate"]`.
    """
    entry = CATALOGUE[task]
    arguments: dict[str, Any] = {
        "task_id": task_id or task,
        "task": task,
        "settings": settings or {},
        "inputs": inputs or {},
        "mlflow_run_id": mlflow_run_id,
        "pool": entry.pool,
        "retries": entry.retries,
        "retry_delay": timedelta(seconds=10),
        "max_retry_delay": timedelta(minutes=10),
        "retry_exponential_backoff": 2.0,
        "map_index_template": map_index_template,
    }
    operator = _operator_type()
    if each is None:
        return operator(**arguments)
    return operator.partial(**arguments).expand(each=each)


def _operator_type() -> type[BaseOperator]:
    launcher = os.environ.get("NUCLEUS_LAUNCHER", "local")
    if launcher == "local":
        return LocalProcessOperator
    raise ValueError(f"NUCLEUS_LAUNCHER is {launcher!r}; it may be 'local'.")


def read_receipt(path: Path, task: str, params: dict[str, Any]) -> dict[str, Any]:
    """Read the result that a task wrote; it must be of this task and of these params."""
    try:
        receipt = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AirflowException(f"{task} ended as done but left no readable result at {path} ({error}).") from error
    if receipt.get("task") != task:
        raise AirflowException(f"The result at {path} is of the task {receipt.get('task')!r}, not of {task!r}.")
    for name, sent in params.items():
        found = receipt.get("params", {}).get(name)
        if found != sent:
            raise AirflowException(f"The result at {path} is of other params: {name} is {found!r}, sent was {sent!r}.")
    return receipt


class MlflowRunLink(BaseOperatorLink):
    """Button on the page of a task instance."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return mlflow_run_url(getattr(operator, "mlflow_run_id", None))


def mlflow_run_url(mlflow_run_id: str | None) -> str:
    """Give the address of a run's page in MLflow, or of MLflow when there is no run."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    return f"{address}/#/runs/{mlflow_run_id}" if mlflow_run_id else address


class LocalProcessOperator(BaseOperator):
    """Run a task as a process of this machine, its lines in the log of the task instance.

    The params are `settings`, `inputs` and `each` taken together. Exit status 2 (bad params or
    input) fails at once, 99 skips, anything but 0 fails and may be retried.
    """

    template_fields: Sequence[str] = ("settings", "inputs", "each", "mlflow_run_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"settings": "json", "inputs": "json", "each": "json"}
    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#e4f0ec"

    def __init__(
        self,
        *,
        task: str,
        settings: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        each: dict[str, Any] | None = None,
        mlflow_run_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.settings = settings or {}
        self.inputs = inputs or {}
        self.each = each or {}
        self.mlflow_run_id = mlflow_run_id

    @cached_property
    def _hook(self) -> SubprocessHook:
        return SubprocessHook()

    def execute(self, context: Context) -> dict[str, Any]:
        store = Path(os.environ["NUCLEUS_STORE"])
        # A list of the outputs of a mapped task arrives as a lazy sequence.
        params = json.loads(json.dumps({**self.settings, **self.inputs, **self.each}, default=list))
        receipt_path = _receipt_path(store, context)
        receipt_path.unlink(missing_ok=True)
        if self.mlflow_run_id:
            self.log.info("MLflow run: %s", mlflow_run_url(self.mlflow_run_id))
        command = CATALOGUE[self.task].command(params, store, receipt_path)
        ended = self._hook.run_command([sys.executable, *command], env=self._environment(), cwd=str(REPOSITORY))
        _raise_unless_done(self.task, ended.exit_code, ended.output)
        receipt = read_receipt(receipt_path, self.task, params)
        self._push(receipt, context)
        return {name: receipt[name] for name in SMALL_RESULT}

    def on_kill(self) -> None:
        process = self._hook.sub_process
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_GRACE_S)
        _signal_group(process.pid, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        run = {"MLFLOW_RUN_ID": self.mlflow_run_id} if self.mlflow_run_id else {}
        return {**os.environ, **run}

    def _push(self, receipt: dict[str, Any], context: Context) -> None:
        for name, path in receipt["outputs"].items():
            context["ti"].xcom_push(name, path)
        if receipt["mlflow_run_id"]:
            context["ti"].xcom_push("mlflow_run_id", receipt["mlflow_run_id"])


def _receipt_path(store: Path, context: Context) -> Path:
    ti = context["ti"]
    return store / "dag_runs" / ti.dag_id / ti.run_id / ti.task_id / f"{ti.map_index}.json"


def _raise_unless_done(task: str, exit_status: int, last_line: str) -> None:
    if exit_status == BAD_INPUT:
        raise AirflowFailException(last_line)
    if exit_status == NOTHING_TO_DO:
        raise AirflowSkipException(last_line)
    if exit_status < 0:
        raise AirflowException(f"{task} was ended by {signal.Signals(-exit_status).name}; its last line: {last_line}")
    if exit_status != DONE:
        raise AirflowException(f"{task} ended with status {exit_status}; its last line: {last_line}")


def _signal_group(leader_pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader_pid, number)

"""What an operator of a task does wherever the task runs: params in, the result read back and handed on."""

from __future__ import annotations

import json
import os
import re
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from nucleus_dags.catalogue import CATALOGUE

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import TaskInstanceKey

TIME_AND_TASK = re.compile(r"^(\d\d:\d\d:\d\d )?\w+: ")
"""What a task's line begins with; a message that it leaves for the kubelet has no time."""
DONE, BAD_INPUT, NOTHING_TO_DO = 0, 2, 99
SMALL_RESULT = ("task", "key", "outputs", "metrics", "counts", "seconds", "reused", "mlflow_run_id")


class BadInput(AirflowFailException):
    """A task refuses its params or its input; trying again would change nothing."""


class MlflowRunLink(BaseOperatorLink):
    """Button on the page of a task instance."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        part = getattr(operator, "each", None) or {}
        return mlflow_run_url(part.get("mlflow_run_id") or getattr(operator, "mlflow_run_id", None))


def mlflow_run_url(mlflow_run_id: str | None) -> str:
    """Give the address of a run's page in MLflow, or of MLflow when there is no run.

    In a cluster, browsers find MLflow at another address than tasks do.
    """
    address = os.environ.get("NUCLEUS_MLFLOW_PAGE") or os.environ.get("MLFLOW_TRACKING_URI", "")
    return f"{address}/#/runs/{mlflow_run_id}" if mlflow_run_id else address


class TaskOperator(BaseOperator):
    """Run a task of the catalogue. Subclasses say where.

    The params are `settings`, `inputs` and `each` taken together. Exit status 2 (bad params or
    input) fails at once, or is handed on as a result with `hand_on_refusals`; 99 skips, anything but
    0 fails and may be retried. A task is done when its result can be read back and is of this task
    and these params, not when its process or pod says so.
    """

    receipt_is_seen_within_s: ClassVar[float] = 0
    """How long a file that another machine wrote may take to be seen here."""
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
        hand_on_refusals: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.settings = settings or {}
        self.inputs = inputs or {}
        self.each = each or {}
        """May hold an `mlflow_run_id` too: that of this part of a mapped task."""
        self.mlflow_run_id = mlflow_run_id
        self.hand_on_refusals = hand_on_refusals

    @abstractmethod
    def run_command(self, params: dict[str, Any], arguments: list[str], context: Context) -> None:
        """Run `python` with `arguments` to its end; raises unless it is done, as `raise_unless_done` does.

        The arguments hold the params already.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        store = Path(os.environ["NUCLEUS_STORE"])
        self.mlflow_run_id = self.each.pop("mlflow_run_id", self.mlflow_run_id)
        # A list of the outputs of a mapped task arrives as a lazy sequence.
        params = json.loads(json.dumps({**self.settings, **self.inputs, **self.each}, default=list))
        receipt_path = _receipt_path(store, context)
        receipt_path.unlink(missing_ok=True)
        if self.mlflow_run_id:
            self.log.info("MLflow run: %s", mlflow_run_url(self.mlflow_run_id))
        try:
            self.run_command(params, CATALOGUE[self.task].command(params, store, receipt_path), context)
        except BadInput as refusal:
            if not self.hand_on_refusals:
                raise
            return {"refused": TIME_AND_TASK.sub("", str(refusal))}
        _wait_for(receipt_path, self.receipt_is_seen_within_s)
        receipt = read_receipt(receipt_path, self.task, params)
        stored = store / self.task / receipt["key"] / "result.json"
        _wait_for(stored, self.receipt_is_seen_within_s)
        if not stored.exists():
            raise AirflowException(f"The receipt of {self.task} names a result that the store doesn't hold: {stored}")
        self._push(receipt, context)
        return {name: receipt[name] for name in SMALL_RESULT}

    def _push(self, receipt: dict[str, Any], context: Context) -> None:
        for name, path in receipt["outputs"].items():
            context["ti"].xcom_push(name, path)
        if receipt["mlflow_run_id"]:
            context["ti"].xcom_push("mlflow_run_id", receipt["mlflow_run_id"])


def _wait_for(path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(1)


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


def raise_unless_done(task: str, exit_status: int, last_line: str) -> None:
    """Turn a task's exit status into Airflow's exceptions."""
    if exit_status == BAD_INPUT:
        raise BadInput(last_line)
    if exit_status == NOTHING_TO_DO:
        raise AirflowSkipException(last_line)
    if exit_status != DONE:
        raise AirflowException(f"{task} ended with status {exit_status}; its last line: {last_line}")


def _receipt_path(store: Path, context: Context) -> Path:
    ti = context["ti"]
    return store / "dag_runs" / ti.dag_id / ti.run_id / ti.task_id / f"{ti.map_index}.json"

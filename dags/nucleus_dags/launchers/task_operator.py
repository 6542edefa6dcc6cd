"""What an operator of a task does wherever the task runs: params in, the result read back and handed on."""

from __future__ import annotations

import json
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from nucleus_dags.in_store import in_store
from nucleus_dags.launchers.command_line import arguments_of, params_file_of
from nucleus_dags.manifest import manifest
from nucleus_dags.mlflow_pages import training_pages
from nucleus_dags.run_note import reason_of
from nucleus_dags.run_page import VARIABLE, run_page_url

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import TaskInstanceKey

SMALL_RESULT = ("task", "key", "params", "outputs", "metrics", "counts", "values", "reused", "mlflow_run_id")

Prepare = Callable[[dict[str, Any], dict[str, Any]], Any]
"""From what is given, and what is known besides, to the params of a task and perhaps its `mlflow_run_id`; or to a list
of these, for tasks that are run one after the other."""
HandOn = Callable[[Any, dict[str, Any]], Any]
"""From the result, or a list of results, and what is known besides, to what the next tasks get."""


class Result(TypedDict):
    """Content of a result.json; see `Result` in `tasks/contract.py`."""

    task: str
    key: str
    params: dict[str, Any]
    outputs: dict[str, str]
    metrics: dict[str, float]
    counts: dict[str, int]
    values: dict[str, Any]
    reused: bool
    mlflow_run_id: str


class BadInput(AirflowFailException):
    """A task refuses its params or its input; trying again would change nothing."""


class MlflowRunLink(BaseOperatorLink):
    """Button on the page of a task instance."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        part = getattr(operator, "each", None) or {}
        return mlflow_run_url(part.get("mlflow_run_id") or getattr(operator, "mlflow_run_id", None))


def mlflow_run_url(mlflow_run_id: str | None) -> str:
    """Give the address that leads to a run's page in MLflow, or to its experiments when there is no run.

    In a cluster, browsers find MLflow at another address than tasks do. Without more, MLflow opens its pages for
    language models; the address of a run is led on by `images/mlflow/login`, which knows the experiment.
    """
    address = os.environ.get("NUCLEUS_MLFLOW_PAGE") or os.environ.get("MLFLOW_TRACKING_URI", "")
    return f"{address}/runs/{mlflow_run_id}" if mlflow_run_id else training_pages(address)


class TaskOperator(BaseOperator):
    """Run a task of the manifest. Subclasses say where.

    The params are `settings`, `inputs` and `each` taken together, or what `prepare` makes of them. Exit
    status 2 (bad params or input) fails at once; 99 skips, anything but 0 fails and may be retried. A task is done when
    its result can be read back and is of this task and these params, not when its process or pod says so.

    Errors that are handed on are no failures: the next tasks get the reason under `refused`, and the `params`, so that
    one of several parts doesn't keep them from the others. With `refusals`, these are bad params and bad input; with
    `all`, also whatever fails at its last try.
    """

    receipt_is_seen_within_s: ClassVar[float] = 0
    """How long a file that another machine wrote may take to be seen here."""
    template_fields: Sequence[str] = ("settings", "inputs", "each", "known", "mlflow_run_id")
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
        known: dict[str, Any] | None = None,
        prepare: Prepare | None = None,
        hand_on: HandOn | None = None,
        mlflow_run_id: str | None = None,
        errors_handed_on: Literal["none", "refusals", "all"] = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.settings = settings or {}
        self.inputs = inputs or {}
        self.each = each or {}
        """May hold the `task` and the `mlflow_run_id` of this part of a mapped task."""
        self.known = known or {}
        self.prepare = prepare
        self.hand_on = hand_on
        self.mlflow_run_id = mlflow_run_id
        self.errors_handed_on = errors_handed_on

    @abstractmethod
    def run_command(self, params: dict[str, Any], arguments: list[str], context: Context) -> None:
        """Run `python` with `arguments` to its end; raises unless it is done, as `raise_unless_done` does.

        The arguments hold the params already.
        """

    def execute(self, context: Context) -> Any:
        given: dict[str, Any] | list[dict[str, Any]] = {}
        try:
            given = self._given()
            parts = [self._named(params) for params in given] if isinstance(given, list) else [(self.task, given)]
            results = [self._run(task, params, number, context) for number, (task, params) in enumerate(parts)]
        except AirflowException as error:
            if self._hands_on(error, context):
                self.log.info("Handed on: %s", error)
                return {"refused": reason_of(error), "params": given}
            raise
        if self.hand_on:
            return self.hand_on(results if isinstance(given, list) else results[0], _plain(self.known))
        small = [{name: value for name, value in result.items() if name in SMALL_RESULT} for result in results]
        return small if isinstance(given, list) else small[0]

    def variables(self, context: Context) -> dict[str, str]:
        """Give the environment that says where a task shows what it does: its MLflow run, and the page of the run."""
        ti = context["ti"]
        found = {"MLFLOW_RUN_ID": self.mlflow_run_id, VARIABLE: run_page_url(ti.dag_id, ti.run_id)}
        return {name: value for name, value in found.items() if value}

    def _hands_on(self, error: AirflowException, context: Context) -> bool:
        """Whether the next tasks are told of an error as of a result."""
        if isinstance(error, BadInput):
            return self.errors_handed_on != "none"
        ti = context["ti"]
        is_for_good = ti.try_number > ti.max_tries and not isinstance(error, AirflowSkipException)
        return is_for_good and self.errors_handed_on == "all"

    def _given(self) -> dict[str, Any] | list[dict[str, Any]]:
        """Give the params, or those of several tasks that are run one after the other."""
        part = dict(self.each)
        # Before `prepare`: a step may have a param of this name.
        self.task = part.pop("task", self.task)
        params: dict[str, Any] = _plain({**self.settings, **self.inputs, **part})
        return self.prepare(params, _plain(self.known)) if self.prepare else params

    def _named(self, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Give the task of one of several, and its params."""
        return params.get("task", self.task), {name: value for name, value in params.items() if name != "task"}

    def _remembered(self, params: dict[str, Any]) -> dict[str, Any]:
        """Give params without their MLflow run, which is that of this operator from now on."""
        self.mlflow_run_id = params.pop("mlflow_run_id", self.mlflow_run_id)
        return params

    def _run(self, task: str, params: dict[str, Any], number: int, context: Context) -> Result:
        """Run a task to its end and give its result; of several, they are numbered from 0."""
        store = Path(os.environ["NUCLEUS_STORE"])
        self.task, params = task, self._remembered(params)
        receipt_path = _receipt_path(store, context, number)
        receipt_path.unlink(missing_ok=True)
        if self.mlflow_run_id:
            self.log.info("MLflow run: %s", mlflow_run_url(self.mlflow_run_id))
        self.run_command(params, arguments_of(self.task, params, store, receipt_path), context)
        result = self._result_of(receipt_path, params, store)
        params_file_of(receipt_path).unlink(missing_ok=True)
        self._push(result, context)
        return result

    def _result_of(self, receipt_path: Path, params: dict[str, Any], store: Path) -> Result:
        """Read the result back, from the receipt; the store must hold it."""
        _wait_for(receipt_path, self.receipt_is_seen_within_s)
        receipt = read_receipt(receipt_path, self.task, params)
        stored = in_store(store, f"{self.task}/{receipt['key']}") / "result.json"
        _wait_for(stored, self.receipt_is_seen_within_s)
        if not stored.exists():
            raise AirflowException(f"The receipt of {self.task} names a result that the store doesn't hold: {stored}")
        return receipt

    def _push(self, receipt: Result, context: Context) -> None:
        for name, path in receipt["outputs"].items():
            context["ti"].xcom_push(name, path)
        context["ti"].xcom_push("values", receipt["values"])
        if receipt["mlflow_run_id"]:
            context["ti"].xcom_push("mlflow_run_id", receipt["mlflow_run_id"])


def _wait_for(path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(1)


def _plain(value: Any) -> Any:
    """Give JSON: a list of the outputs of a mapped task arrives as a lazy sequence."""
    return json.loads(json.dumps(value, default=list))


def read_receipt(path: Path, task: str, params: dict[str, Any]) -> Result:
    """Read the result that a task wrote; it must be of this task and of these params."""
    try:
        receipt: Result = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AirflowException(f"{task} ended as done but left no readable result at {path} ({error}).") from error
    if receipt.get("task") != task:
        raise AirflowException(f"The result at {path} is of the task {receipt.get('task')!r}, not of {task!r}.")
    for name, sent in params.items():
        found = receipt.get("params", {}).get(name)
        if not _agrees(found, sent):
            raise AirflowException(f"The result at {path} is of other params: {name} is {found!r}, sent was {sent!r}.")
    return receipt


def _agrees(found: Any, sent: Any) -> bool:
    """Whether params are those that were sent. A task fills in what wasn't sent, also in dicts and lists of them."""
    if isinstance(sent, dict) and isinstance(found, dict):
        return all(_agrees(found.get(name), value) for name, value in sent.items())
    if isinstance(sent, list) and isinstance(found, list):
        return len(found) == len(sent) and all(map(_agrees, found, sent))
    return bool(found == sent)


def raise_unless_done(task: str, exit_status: int, last_line: str) -> None:
    """Turn a task's exit status into Airflow's exceptions."""
    known = manifest()["exit_statuses"]
    if exit_status == known["bad_input"]:
        raise BadInput(last_line)
    if exit_status == known["nothing_to_do"]:
        raise AirflowSkipException(last_line)
    if exit_status != known["done"]:
        raise AirflowException(f"{task} ended with status {exit_status}; its last line: {last_line}")


def _receipt_path(store: Path, context: Context, number: int) -> Path:
    ti = context["ti"]
    name = f"{ti.map_index}_{number}" if number else str(ti.map_index)
    return store / "dag_runs" / ti.dag_id / ti.run_id / ti.task_id / f"{name}.json"

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from nucleus_dags.launchers import launch
from nucleus_dags.launchers.local_process import LocalProcessOperator
from nucleus_dags.launchers.task_operator import BadInput, read_receipt
from nucleus_dags.manifest import Resources, TaskEntry, manifest
from nucleus_dags.run_note import reason_of
from tests.dags import probe as probe_task
from tests.dags.task_instance import TaskInstance
from tests.repository import REPOSITORY


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(manifest()["tasks"], "probe", probe_entry())
    monkeypatch.setenv("NUCLEUS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tmp_path / "store"


def probe_entry() -> TaskEntry:
    """Give what the manifest would say of the probe."""
    resources: Resources = {"kind": "light", "container_image": "cpu", "cpu": 1, "memory_gib": 1, "gpu": 0}
    return {"module": "tests.dags.probe", "resources": resources, "params": {"properties": {}}}


def probe(task: str = "probe", **arguments: Any) -> LocalProcessOperator:
    return LocalProcessOperator(task_id="probe", task=task, **arguments)


def execute(operator: LocalProcessOperator, instance: TaskInstance | None = None) -> Any:
    return operator.execute({"ti": instance or TaskInstance()})  # type: ignore[typeddict-item]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_task_instance_of_tests_has_attributes_of_airflow_s_alone() -> None:
    assert set(vars(TaskInstance())) - {"xcoms"} <= set(RuntimeTaskInstance.model_fields)
    asked, given = (signature(kind.xcom_push).parameters for kind in (TaskInstance, RuntimeTaskInstance))
    assert set(asked) <= set(given)


def test_a_done_task_gives_its_small_result_and_each_output_as_an_xcom() -> None:
    instance = TaskInstance()
    result = execute(probe(), instance)
    folder = f"probe/{result['key']}"
    assert instance.xcoms == {"plate": folder, "file": f"{folder}/file", "values": {"threshold": 0.25}}
    assert set(result) == {
        *("task", "key", "params", "outputs", "metrics", "counts", "values", "reused", "mlflow_run_id")
    }
    assert result["metrics"] == {"f1": 0.5}


def test_bad_input_may_be_handed_on_in_the_task_s_words() -> None:
    refused = execute(probe(settings={"ending": "bad input"}, errors_handed_on="refusals"))
    assert refused == {"refused": "plate.json: role is missing; add it.", "params": {"ending": "bad input"}}
    with pytest.raises(AirflowException):
        execute(probe(settings={"ending": "fault"}, errors_handed_on="refusals"))


def test_what_fails_at_its_last_try_may_be_handed_on_and_nobody_is_told_that_the_run_failed() -> None:
    operator = probe(settings={"ending": "fault"}, errors_handed_on="all")
    with pytest.raises(AirflowException):
        execute(operator, TaskInstance(try_number=2, max_tries=2))
    last = TaskInstance(try_number=3, max_tries=2)
    failed = execute(operator, last)
    assert failed["params"] == {"ending": "fault"}
    assert "probe ended with status 1" in failed["refused"]
    assert last.xcoms == {}


def test_a_reason_not_to_start_a_part_may_be_handed_on() -> None:
    def refuse(given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        raise BadInput("cellpose is broken")

    assert execute(probe(prepare=refuse, errors_handed_on="all")) == {"refused": "cellpose is broken", "params": {}}


def test_a_part_of_a_mapped_task_may_have_an_mlflow_run_of_its_own(store: Path) -> None:
    result = execute(probe(each={"mlflow_run_id": "a" * 32}, mlflow_run_id="b" * 32))
    assert (store / result["outputs"]["file"]).read_text() == "a" * 32


def test_settings_inputs_and_items_are_the_params_together(store: Path) -> None:
    operator = probe(settings={"ending": "done"}, inputs={"plates": ("a", "b")}, each={"pid_file": "c"})
    result = execute(operator)
    stored = json.loads((store / "probe" / result["key"] / "result.json").read_text())
    assert stored["params"] == {"ending": "done", "plates": ["a", "b"], "pid_file": "c"}


def test_params_that_are_longer_than_an_argument_may_be_reach_the_task(store: Path) -> None:
    # As many fields as a plate of 384 wells has with 9 sites.
    names = [f"plate_{well:03}_site_{site}_of_a_name_as_microscopes_give" for well in range(384) for site in range(9)]
    assert len(json.dumps(names)) > 2**17
    result = execute(probe(settings={"plates": names}))
    assert result["params"]["plates"] == names
    assert not list(store.glob("dag_runs/**/*.params"))


def test_a_part_of_a_mapped_task_may_name_the_task_that_does_it() -> None:
    assert execute(probe(task="train", each={"task": "probe"}))["task"] == "probe"


def test_a_step_may_have_a_param_that_is_called_task() -> None:
    operator = probe(each={"task": "probe"}, prepare=lambda given, known: {**given, "task": "segment"})
    assert operator._given() == {"task": "segment"}
    assert operator.task == "probe"


def test_params_may_be_made_of_what_is_given_and_what_is_known(store: Path) -> None:
    def prepare(given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        return {"plates": [given["name"], *known["others"]], "mlflow_run_id": "a" * 32}

    result = execute(probe(each={"name": "a"}, known={"others": ("b", "c")}, prepare=prepare))
    assert result["params"]["plates"] == ["a", "b", "c"]
    assert result["mlflow_run_id"] == "a" * 32


def test_what_the_next_tasks_get_may_be_made_of_the_result_and_what_is_known() -> None:
    instance = TaskInstance()
    handed_on = execute(
        probe(known={"factor": 2}, hand_on=lambda result, known: result["metrics"]["f1"] * known["factor"]), instance
    )
    assert handed_on == 1.0
    assert instance.xcoms["values"] == {"threshold": 0.25}


def test_without_work_a_part_is_skipped_before_anything_is_started(store: Path) -> None:
    def nothing(given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        raise AirflowSkipException("There is no champion to judge against.")

    with pytest.raises(AirflowSkipException, match="no champion"):
        execute(probe(prepare=nothing))
    assert not store.exists()


def test_the_task_gets_the_mlflow_run_and_hands_it_on(store: Path) -> None:
    instance = TaskInstance()
    result = execute(probe(mlflow_run_id="0123abcd"), instance)
    assert (store / result["outputs"]["file"]).read_text() == "0123abcd"
    assert instance.xcoms["mlflow_run_id"] == result["mlflow_run_id"] == "0123abcd"


def test_the_button_leads_to_the_page_of_the_mlflow_run() -> None:
    [link] = probe().operator_extra_links
    url = link.get_link(probe(mlflow_run_id="0123abcd"), ti_key=None)  # type: ignore[arg-type]
    assert url == "http://127.0.0.1:5000/runs/0123abcd"
    of_a_part = probe(mlflow_run_id="0123abcd", each={"mlflow_run_id": "4567cdef"})
    assert link.get_link(of_a_part, ti_key=None).endswith("/runs/4567cdef")  # type: ignore[arg-type]


def test_bad_input_fails_without_a_retry_and_with_the_tasks_own_line() -> None:
    with pytest.raises(AirflowFailException, match=r"plate\.json: role is missing; add it\."):
        execute(probe(settings={"ending": "bad input"}))


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("bad input", r"^plate\.json: role is missing; add it\.$"),
        ("fault", "status 1.*a fault"),
        ("killed", "SIGKILL"),
        ("stored elsewhere", "names a result that the store doesn't hold"),
    ],
)
def test_a_task_that_fails_has_the_reason_for_the_note_of_the_run(ending: str, reason: str) -> None:
    with pytest.raises(AirflowException) as raised:
        execute(probe(settings={"ending": ending}))
    assert re.search(reason, reason_of(raised.value))


def test_a_wrong_param_fails_without_a_retry_and_names_it() -> None:
    with pytest.raises(AirflowFailException, match="roiz: unknown param"):
        execute(probe(settings={"roiz": 3}))


def test_nothing_to_do_is_a_skipped_task() -> None:
    with pytest.raises(AirflowSkipException, match="no field is left"):
        execute(probe(settings={"ending": "nothing to do"}))


def test_a_fault_may_be_retried() -> None:
    with pytest.raises(AirflowException, match=r"status 1.*a fault") as raised:
        execute(probe(settings={"ending": "fault"}))
    assert not isinstance(raised.value, AirflowFailException | AirflowSkipException)


def test_the_signal_that_ended_a_task_is_named() -> None:
    with pytest.raises(AirflowException, match="SIGKILL"):
        execute(probe(settings={"ending": "killed"}))


@pytest.mark.parametrize("ending", ["hangs", "hangs on"])
def test_killing_ends_the_task_and_all_that_it_started(ending: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    operator = probe(settings={"ending": ending, "pid_file": str(pid_file)})
    failures: list[str] = []

    def run() -> None:
        try:
            execute(operator)
        except AirflowException as error:
            failures.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
    started = time.monotonic()
    operator.on_kill()
    assert time.monotonic() - started < 5, "Airflow waits no longer"
    thread.join(10)
    assert len(failures) == 1
    for pid in map(int, pid_file.read_text().split()):
        wait_for(lambda pid=pid: has_ended(pid))  # type: ignore[misc]


def test_killing_before_the_start_does_nothing() -> None:
    probe().on_kill()


def receipt_of(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({"task": "probe", "params": {"ending": "done", "plates": []}, **changes}))
    return path


def test_a_receipt_of_the_task_and_its_params_is_taken(tmp_path: Path) -> None:
    receipt = read_receipt(receipt_of(tmp_path / "receipt"), "probe", {"ending": "done"})
    assert receipt["task"] == "probe"


def test_done_without_a_receipt_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AirflowException, match="left no readable result"):
        read_receipt(tmp_path / "receipt", "probe", {})


def test_a_receipt_that_is_cut_short_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "receipt").write_text('{"task": "pro')
    with pytest.raises(AirflowException, match="left no readable result"):
        read_receipt(tmp_path / "receipt", "probe", {})


def test_a_receipt_of_another_task_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AirflowException, match="of the task 'score', not of 'probe'"):
        read_receipt(receipt_of(tmp_path / "receipt", task="score"), "probe", {})


def test_a_receipt_of_other_params_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AirflowException, match="ending is 'done', sent was 'fault'"):
        read_receipt(receipt_of(tmp_path / "receipt"), "probe", {"ending": "fault"})


def test_a_receipt_in_which_the_task_filled_in_what_was_not_sent_is_taken_also_within_a_dict(tmp_path: Path) -> None:
    params = {"settings": {"level": 0.4, "min_area_px": 20}, "plates": []}
    receipt = receipt_of(tmp_path / "receipt", params=params)
    assert read_receipt(receipt, "probe", {"settings": {"level": 0.4}})["params"] == params
    with pytest.raises(AirflowException, match=r"settings is .*, sent was \{'level': 0.5\}"):
        read_receipt(receipt, "probe", {"settings": {"level": 0.5}})
    with pytest.raises(AirflowException, match="sent was"):
        read_receipt(receipt, "probe", {"settings": {"level": 0.4, "padding": "zero"}})


def test_a_receipt_in_which_the_task_filled_in_what_was_not_sent_within_a_list_is_taken(tmp_path: Path) -> None:
    receipt = receipt_of(tmp_path / "receipt", params={"tables": [{"name": "T", "kind": "f1"}]})
    assert read_receipt(receipt, "probe", {"tables": [{"name": "T"}]})["task"] == "probe"
    for sent in ([{"name": "U"}], [{"name": "T"}, {"name": "U"}], []):
        with pytest.raises(AirflowException, match="sent was"):
            read_receipt(receipt, "probe", {"tables": sent})


def test_done_with_a_result_that_the_store_does_not_hold_is_a_failure() -> None:
    with pytest.raises(AirflowException, match=r"names a result that the store doesn't hold: .*/probe/.*/result\.json"):
        execute(probe(settings={"ending": "stored elsewhere"}))


def test_a_receipt_of_an_earlier_try_is_removed_before_the_start(store: Path) -> None:
    instance = TaskInstance(map_index=3)
    path = store / "dag_runs" / instance.dag_id / instance.run_id / "probe" / "3.json"
    path.parent.mkdir(parents=True)
    receipt_of(path)
    with pytest.raises(AirflowException):
        execute(probe(settings={"ending": "fault"}), instance)
    assert not path.exists()


def test_an_unknown_launcher_is_refused_with_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_LAUNCHER", "ship")
    with pytest.raises(ValueError, match="'ship'; it may be 'local' or 'pod'"):
        launch("probe")


def test_every_task_of_the_manifest_tells_its_params_on_the_command_line() -> None:
    """In one process, which runs each module as `python -m` does: the libraries take most of the time."""
    program = """
import runpy, sys
for module in sys.argv[1:]:
    sys.argv = [module, "--help"]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print(f"{module} ended with {end.code}")
"""
    modules = sorted({entry["module"] for entry in manifest()["tasks"].values()} - {probe_task.__name__})
    ended = subprocess.run(
        [sys.executable, "-c", program, *modules], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    outputs = re.split(r"^.* ended with 0\n", ended.stdout, flags=re.MULTILINE)
    assert len(outputs) == len(modules) + 1
    for module, output in zip(modules, outputs, strict=False):
        assert f"python -m {module}" in output


def test_tasks_of_one_part_are_run_one_after_the_other_and_their_results_handed_on_together(store: Path) -> None:
    def one_for_each(given: dict[str, Any], known: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"plates": [plate], "mlflow_run_id": "a" * 32} for plate in given["plates"]]

    def plates_of(results: list[Any], known: dict[str, Any]) -> list[str]:
        return [result["params"]["plates"][0] for result in results]

    operator = probe(settings={"plates": ["a", "b"]}, prepare=one_for_each, hand_on=plates_of)
    assert execute(operator) == ["a", "b"]
    assert len(list(store.glob("dag_runs/**/*.json"))) == 2


def test_a_task_is_told_where_its_run_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    context: Any = {"ti": TaskInstance()}
    assert probe(mlflow_run_id="0123").variables(context) == {"MLFLOW_RUN_ID": "0123"}
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org")
    address = "https://airflow.example.org/plugin/nuclei/nuclei/runs/train_models/"
    assert probe().variables(context) == {"NUCLEUS_RUN_PAGE": f"{address}manual__2026-01-02T03%3A04%3A05%2B00%3A00"}

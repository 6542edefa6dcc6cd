"""A real Airflow and a real MLflow server do the whole work on tiny plates, triggered as the page does it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
from mlflow import MlflowClient

from nucleus_dags.airflow_api import AirflowApiError
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.home import Home
from tests.end_to_end.laboratory import MODEL, Laboratory, laboratory, running_servers
from tests.repository import REPOSITORY
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAG_ID = "train_models"
FORM = {"rois": 40, "cycles": 1, "encoder": "mobilenetv2", "initialisation": "random", "experiment": "end to end"}
LONG_ENOUGH = {"rois": 100}
"""For a training that is stopped after its first cycle, and before its last."""


class System(Laboratory):
    """With one DAG in use."""

    def start(self, **form: Any) -> str:
        return self.api.trigger(DAG_ID, FORM | form)

    def end_of(self, dag_run_id: str) -> str:
        """Wait for the end of a DAG run and give its state."""
        return self.finish(DAG_ID, dag_run_id)

    def task_states(self, dag_run_id: str) -> dict[str, str]:
        return self.states(DAG_ID, dag_run_id)

    def wait_for_line(self, dag_run_id: str, task_id: str, text: str) -> None:
        def says_it() -> bool:
            return any(text in line for line in self.log_lines(DAG_ID, dag_run_id, task_id))

        self.wait_until(says_it, f"{task_id} of {dag_run_id} says {text}")

    def only_results(self, dag_run_id: str) -> dict[str, dict[str, Any]]:
        """Give what each task left for Airflow, of a run in which each has one part besides that of the baseline."""
        results = self.results(DAG_ID, dag_run_id)
        of_models = {task: [part for part in parts if part["mlflow_run_id"]] for task, parts in results.items()}
        return {task: (of_models[task] or parts)[0] for task, parts in results.items()}

    def mlflow_run(self, dag_run_id: str) -> Any:
        return self.mlflow.get_run(self.only_results(dag_run_id)["open_run"]["mlflow_run_id"])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The servers read the DAGs once: no file of them changes, and each reading takes as much as a task."""
    folder = tmp_path_factory.mktemp("nucleus")
    for random_seed, role in enumerate(("train", "test")):
        make_synthetic_plate(Home(folder).inbox / f"tiny-{role}", role=role, random_seed=random_seed)
    with (
        patch.dict(os.environ, AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="3600"),
        laboratory(folder) as started,
    ):
        yield System(started.home, started.servers)
        processes = running_servers(started.home)
    assert [process for process in processes if lives(process)] == []
    assert processes_with(str(folder)) == []


@pytest.fixture(scope="module")
def first_run(system: System) -> str:
    dag_run_id = system.start()
    assert system.end_of(dag_run_id) == "success", system.task_states(dag_run_id)
    return dag_run_id


def processes_with(text: str) -> list[psutil.Process]:
    """Give the processes whose command line holds `text`."""
    processes = psutil.process_iter(["cmdline"])
    return [process for process in processes if text in " ".join(process.info["cmdline"] or []) and lives(process)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_every_task_is_done_and_the_note_has_the_scores_and_the_way_to_mlflow(system: System, first_run: str) -> None:
    states = system.task_states(first_run)
    assert len(states) <= 17
    # There is a champion already, the base model.
    assert states.pop("first_champion") == "skipped"
    assert set(states.values()) == {"success"}
    note = system.note(DAG_ID, first_run)
    # So short a training may find no nucleus, which stands before its F1.
    assert "F1 at 0.7: " in note.splitlines()[0]
    assert "| MCF10A " in note
    assert f"{system.servers.mlflow_url}/runs/{system.mlflow_run(first_run).info.run_id}" in note


def test_a_new_installation_has_the_base_model_as_champion(system: System) -> None:
    assert system.champion() == 1
    run_id = system.mlflow.get_model_version(MODEL, "1").run_id
    assert "base_model" in system.mlflow.get_run(run_id or "").data.tags


def test_the_store_of_a_whole_run_has_nothing_incomplete_altered_or_orphaned(system: System, first_run: str) -> None:
    assert problems_in_store(system) == []


def problems_in_store(system: System) -> list[str]:
    """Give the lines of `make check-store`, without its sum."""
    command = [sys.executable, "-m", "tasks.store.check", "--store", str(system.home.store)]
    env = {**os.environ, "MLFLOW_TRACKING_URI": system.servers.mlflow_url}
    checked = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True)
    problems = checked.stdout.splitlines()[:-1]
    assert checked.returncode == int(problems != []), checked
    return problems


def test_the_log_of_a_task_streams_the_tasks_own_lines(system: System, first_run: str) -> None:
    assert any("cycle 1 of 1: loss" in line for line in system.log_lines(DAG_ID, first_run, "train"))


def test_mlflow_has_params_the_loss_by_cycle_and_the_f1_curve_by_iou(system: System, first_run: str) -> None:
    run = system.mlflow_run(first_run)
    assert run.info.status == "FINISHED"
    assert run.data.tags["dag_run_id"] == first_run
    assert run.data.params["augment.rois"] == str(FORM["rois"])
    assert run.data.params["train_fpn2_ws.all.encoder"] == "mobilenetv2"
    curve = system.mlflow.get_metric_history(run.info.run_id, "f1_curve/MCF10A")
    assert [point.step for point in curve] == list(range(5, 100, 5))
    losses = system.mlflow.get_metric_history(run.info.run_id, "all/validation_loss")
    assert [point.step for point in losses] == [1]


def test_mlflow_has_the_report(system: System, first_run: str) -> None:
    run_id = system.mlflow_run(first_run).info.run_id
    assert "report.html" in " ".join(artifacts(system.mlflow, run_id))


def artifacts(client: MlflowClient, run_id: str, folder: str = "") -> list[str]:
    found = []
    for item in client.list_artifacts(run_id, folder):
        found += artifacts(client, run_id, item.path) if item.is_dir else [item.path]
    return found


def test_the_registered_model_loads_by_itself_and_segments(system: System, first_run: str, tmp_path: Path) -> None:
    version = model_version(system, first_run)
    program = f"""
import mlflow, numpy
model = mlflow.pyfunc.load_model("models:/nucleus-segmenter/{version}")
label_image = model.predict(numpy.zeros((100, 90), "uint16"))
print(label_image.shape, numpy.issubdtype(label_image.dtype, numpy.integer))
"""
    env = os.environ | {"MLFLOW_TRACKING_URI": system.servers.mlflow_url, "PYTHONPATH": ""}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "(100, 90) True"


def model_version(system: System, dag_run_id: str) -> str:
    run_id = system.mlflow_run(dag_run_id).info.run_id
    [version] = system.mlflow.search_model_versions(f"name = 'nucleus-segmenter' and run_id = '{run_id}'")
    return version.version


@pytest.mark.long
def test_the_same_again_computes_nothing_and_is_a_whole_run_in_mlflow(system: System, first_run: str) -> None:
    again = system.start()
    assert system.end_of(again) == "success"
    reused = {task for task, result in system.only_results(again).items() if result["reused"]}
    assert reused == set(system.only_results(again)) - {"open_run", "find_stored", "close_run"}
    first, second = system.mlflow_run(first_run), system.mlflow_run(again)
    assert first.info.run_id != second.info.run_id
    assert first.data.params == second.data.params
    assert first.data.metrics["f1_at_0.7/all"] == second.data.metrics["f1_at_0.7/all"]
    assert model_version(system, again) != model_version(system, first_run)


@pytest.mark.long
def test_another_threshold_computes_only_what_depends_on_it(system: System, first_run: str) -> None:
    dag_run_id = system.start(marker_threshold=0.35)
    assert system.end_of(dag_run_id) == "success"
    computed = {task for task, result in system.only_results(dag_run_id).items() if not result["reused"]}
    asked_each_time = {"open_run", "find_stored", "close_run"}
    # The threshold that wasn't chosen is calibrated for the one that was.
    assert computed == {"calibrate", "register_model", "segment", "score", "report", *asked_each_time}


def test_all_wrong_values_are_refused_in_words_before_anything_runs(system: System) -> None:
    with pytest.raises(AirflowApiError) as raised:
        system.start(rois="5", encoder="resnet35", marker_threshold="0,5")
    assert raised.value.status == 400
    for words in (
        "ROIs: 5 is too small",
        "'resnet35' isn't known",
        "Marker threshold: '0,5' isn't a number; write 0.5",
    ):
        assert words in str(raised.value)


def test_an_unknown_plate_ends_the_run_at_once_with_the_known_ones(system: System) -> None:
    dag_run_id = system.start(train_plates=["missing"])
    assert system.end_of(dag_run_id) == "failed"
    assert system.task_states(dag_run_id)["open_run"] == "upstream_failed"
    assert any("tiny-train (train)" in line for line in system.log_lines(DAG_ID, dag_run_id, "plan"))


@pytest.mark.long
def test_a_field_that_the_chosen_method_does_not_have_ends_the_run_at_once_with_its_title(system: System) -> None:
    dag_run_id = system.start(min_score=0.5)
    assert system.end_of(dag_run_id) == "failed"
    assert system.task_states(dag_run_id)["open_run"] == "upstream_failed"
    message = "Minimum score: the methods chosen (FPN2-WS) don't have this; leave it empty."
    assert any(message in line for line in system.log_lines(DAG_ID, dag_run_id, "plan"))


# Each with another number of cycles: a training that resumes where the other one was ended has no first cycle.
@pytest.mark.long
@pytest.mark.parametrize(("cycles", "marked"), [(1000, "/taskInstances/train/0"), (1001, "")], ids=["task", "run"])
def test_marking_a_task_or_the_run_failed_in_the_page_ends_its_process_and_the_run(
    system: System, cycles: int, marked: str
) -> None:
    dag_run_id = system.start(cycles=cycles)
    system.wait_for_line(dag_run_id, "train", f"cycle 1 of {cycles}")
    of_training = f"{dag_run_id}/train/"
    assert len(processes_with(of_training)) == 1
    path = f"dags/{DAG_ID}/dagRuns/{dag_run_id.replace('+', '%2B')}{marked}"
    system.api.call("PATCH", path, {"new_state" if marked else "state": "failed"})
    assert system.end_of(dag_run_id) == "failed"
    system.wait_until(lambda: processes_with(of_training) == [], "the training's process ends")
    system.wait_until(lambda: system.mlflow_run(dag_run_id).info.status == "FAILED", "MLflow knows it")
    assert system.api.dag_run(DAG_ID, dag_run_id)["state"] == "failed"


@pytest.mark.long
def test_a_run_resumes_though_mlflow_was_away_at_its_start_and_all_servers_were_stopped_in_its_middle(
    system: System,
) -> None:
    kill_mlflow(system)
    dag_run_id = system.start(cycles=3, **LONG_ENOUGH)
    system.wait_until(lambda: system.task_states(dag_run_id)["open_run"] == "up_for_retry", "open_run finds no MLflow")
    local_servers.up(system.home)
    system.wait_for_line(dag_run_id, "train", "cycle 1 of 3: loss")
    kill_mlflow(system)
    system.wait_for_line(dag_run_id, "train", "cycle 2 of 3: loss")
    started = running_servers(system.home)
    local_servers.down(system.home)
    assert [process for process in started if lives(process)] == []
    local_servers.up(system.home, port_of(system.servers.airflow_url), port_of(system.servers.mlflow_url))
    assert system.end_of(dag_run_id) == "success"

    assert any(" after cycle 2 of an earlier attempt" in line for line in system.log_lines(DAG_ID, dag_run_id, "train"))
    [instance] = [i for i in system.api.task_instances(DAG_ID, dag_run_id) if i["task_id"] == "train"]
    assert instance["try_number"] == 2
    run = system.mlflow_run(dag_run_id)
    assert run.info.status == "FINISHED"
    losses = system.mlflow.get_metric_history(run.info.run_id, "all/loss")
    assert [point.step for point in losses] == [1, 2, 3]


@pytest.mark.long
def test_a_run_resumes_after_all_processes_were_killed_at_once(system: System) -> None:
    known_problems = problems_in_store(system)  # What trainings left that other tests stopped.
    dag_run_id = system.start(cycles=4, **LONG_ENOUGH)
    system.wait_for_line(dag_run_id, "train", "cycle 1 of 4: loss")
    processes = running_servers(system.home)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, 60)
    local_servers.up(system.home, port_of(system.servers.airflow_url), port_of(system.servers.mlflow_url))
    assert system.end_of(dag_run_id) == "success"

    run = system.mlflow_run(dag_run_id)
    assert run.info.status == "FINISHED"
    losses = system.mlflow.get_metric_history(run.info.run_id, "all/loss")
    assert [point.step for point in losses] == [1, 2, 3, 4]
    assert set(problems_in_store(system)) <= set(known_problems)


def kill_mlflow(system: System) -> None:
    servers = system.home.read_servers()
    assert servers is not None
    os.killpg(servers.processes["mlflow"].pid, signal.SIGKILL)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def test_a_second_start_says_that_all_runs_and_starts_nothing(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    before = system.home.read_servers()
    assert local_servers.up(system.home) == before
    assert capsys.readouterr().out == "Already up.\n"
    assert local_servers.status(system.home)

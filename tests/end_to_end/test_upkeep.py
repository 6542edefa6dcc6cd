"""Upkeep of a real Airflow, MLflow and store.

What is old goes by `make clean-up`, and what is in use stays. A backup that was made during a training is restored into
an empty folder.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nucleus_dags.airflow_api import AirflowApiError
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.home import Home
from nucleus_dags.upkeep import backup
from nucleus_dags.upkeep.archive import Archive
from nucleus_dags.upkeep.clean_up import DAY_S, DELETED_RUNS_DAYS, LOGS_DAYS, ROWS_DAYS, clean_up
from nucleus_dags.upkeep.installation import of_home
from nucleus_dags.upkeep.programs import OfHome
from nucleus_dags.upkeep.restore import restore
from tests.end_to_end.laboratory import MODEL, Laboratory, laboratory
from tests.end_to_end.test_train_models import FORM, port_of
from tests.stored_results import store_result
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

DAG_ID = "promote_model"
UNKNOWN_FIELD = {"version": 1, "reason": "a form that is refused", "a field": "that isn't there"}
"""Ends a DAG run at its first task."""
OLD_RESULT = "score/0123456789abcdef"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Laboratory]:
    home = Home(tmp_path / "home")
    for random_seed, role in enumerate(("train", "test")):
        make_synthetic_plate(home.inbox / f"tiny-{role}", role=role, random_seed=random_seed)
    with laboratory(home.folder) as started:
        yield started


def change(system: Laboratory, program: str, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(system.home.database(program), timeout=60)) as database, database:
        database.execute(statement, values)


def refused_run(system: Laboratory) -> str:
    dag_run_id = system.api.trigger(DAG_ID, UNKNOWN_FIELD)
    assert system.finish(DAG_ID, dag_run_id) == "failed"
    return dag_run_id


def log_folder(system: Laboratory, dag_run_id: str) -> Path:
    return system.home.folder / f"airflow/logs/dag_id={DAG_ID}/run_id={dag_run_id}"


def make_old(path: Path, days: float) -> None:
    then = time.time() - days * DAY_S
    for inner in [path, *path.rglob("*")]:
        os.utime(inner, (then, then))


def let_the_dag_run_be_old(system: Laboratory, dag_run_id: str) -> None:
    before = f"-{ROWS_DAYS + 10} days"
    for table, where in (("dag_run", "run_id = ?"), ("task_instance", "run_id = ?")):
        columns = ", ".join(f"{name} = datetime({name}, ?)" for name in ("start_date", "end_date"))
        change(system, "airflow", f"UPDATE {table} SET {columns} WHERE {where}", before, before, dag_run_id)
    make_old(log_folder(system, dag_run_id), LOGS_DAYS + 10)


def champion_run_of(system: Laboratory) -> str:
    run_id = system.mlflow.get_model_version_by_alias(MODEL, "champion").run_id
    assert run_id is not None
    return run_id


def deleted_run(system: Laboratory, mlflow_run_id: str) -> Path:
    """Delete a run as a person does, long ago; gives the folder of its artefacts."""
    uri = system.mlflow.get_run(mlflow_run_id).info.artifact_uri
    system.mlflow.delete_run(mlflow_run_id)
    then_ms = int((time.time() - (DELETED_RUNS_DAYS + 10) * DAY_S) * 1000)
    change(system, "mlflow", "UPDATE runs SET deleted_time = ? WHERE run_uuid = ?", then_ms, mlflow_run_id)
    return system.home.folder / "mlflow/artifacts" / uri.removeprefix("mlflow-artifacts:/")


def mlflow_runs(system: Laboratory) -> set[str]:
    with closing(sqlite3.connect(system.home.database("mlflow"), timeout=60)) as database:
        return {run for (run,) in database.execute("SELECT run_uuid FROM runs")}


def dag_runs(system: Laboratory) -> set[str]:
    return set(system.run_ids(DAG_ID))


def test_what_is_old_is_removed_everywhere_and_what_is_in_use_stays(
    system: Laboratory, capfd: pytest.CaptureFixture[str]
) -> None:
    old, recent = refused_run(system), refused_run(system)
    let_the_dag_run_be_old(system, old)

    champion, champion_run = system.champion(), champion_run_of(system)
    of_nothing, just_deleted = (system.mlflow.create_run("0").info.run_id for _ in range(2))
    system.mlflow.log_text(of_nothing, "scores", "scores.txt")
    artefacts = deleted_run(system, of_nothing)
    of_champion = deleted_run(system, champion_run)
    system.mlflow.delete_run(just_deleted)

    store_result(system.home.store, OLD_RESULT, {})
    make_old(system.home.store / OLD_RESULT, 100)
    kept_results = {path.parent for path in system.home.store.glob("*/*/result.json")} - {
        system.home.store / OLD_RESULT
    }
    kept_artefacts = [path for path in of_champion.rglob("*") if path.is_file()]
    assert kept_results
    assert kept_artefacts
    assert list(artefacts.iterdir())

    def everything() -> tuple[set[str], set[str], list[bool]]:
        folders = [artefacts / "scores.txt", log_folder(system, old), system.home.store / OLD_RESULT]
        return dag_runs(system), mlflow_runs(system), [folder.exists() for folder in folders]

    before = everything()
    clean_up(OfHome(system.home), really=False)
    assert everything() == before
    listed = capfd.readouterr().out
    assert f"MLflow's run {of_nothing}" in listed
    assert f"run_id={old}" in listed
    assert OLD_RESULT in listed
    assert champion_run not in listed

    clean_up(OfHome(system.home), really=True)
    assert dag_runs(system) == {recent}
    assert mlflow_runs(system) == before[1] - {of_nothing}
    assert everything()[2] == [False, False, False]
    assert log_folder(system, recent).is_dir()
    assert all(path.exists() for path in [*kept_results, *kept_artefacts])

    # All of it works on.
    system.mlflow.restore_run(champion_run)
    assert system.mlflow.get_run(champion_run).info.lifecycle_stage == "active"
    assert system.champion() == champion
    with pytest.raises(AirflowApiError):
        system.state(DAG_ID, old)
    refused_run(system)


def test_a_backup_made_during_a_training_is_restored_into_an_empty_folder_where_the_run_ends_well(
    system: Laboratory, tmp_path: Path
) -> None:
    dag_run_id = system.api.trigger("train_models", FORM | {"rois": 60, "cycles": 2})

    def is_training() -> bool:
        return any("cycle 1 of 2: loss" in line for line in system.log_lines("train_models", dag_run_id, "train"))

    system.wait_until(is_training, "a cycle of the training is done")
    installation, champion = of_home(system.home.folder), system.champion()
    backup.save(installation, tmp_path / "backups")

    local_servers.down(system.home)
    shutil.rmtree(system.home.folder)
    restore(Archive(tmp_path / "backups"), installation, None, False)
    ports = port_of(system.servers.airflow_url), port_of(system.servers.mlflow_url)
    local_servers.up(system.home, *ports)

    assert system.champion() == champion
    system.finish_well("train_models", dag_run_id)
    mlflow_run_id = system.results("train_models", dag_run_id)["open_run"][0]["mlflow_run_id"]
    assert system.mlflow.get_run(mlflow_run_id).info.status == "FINISHED"
    assert {point.step for point in system.mlflow.get_metric_history(mlflow_run_id, "all/loss")} == {1, 2}

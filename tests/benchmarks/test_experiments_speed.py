"""How long it takes to see that nothing of the paper's experiments is to do: the plan, and what the store says."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nucleus_dags.forms.run_experiments import run_experiments_form
from nucleus_dags.launchers.command_line import arguments_of
from nucleus_dags.planning import run_experiments
from tasks import tracking
from tasks.steps import calibrate, score, segment
from tests.dags.forms.filled import filled
from tests.repository import REPOSITORY
from tests.steps.test_find_experiments import stored
from tests.stored_results import add_plate, store_result
from tests.tracked import track_in

CELL_LINES = ("MCF10A", "HCT116", "U2OS", "Eosinophils")
MOST_SECONDS = 60
EXPERIMENTS = 77


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that has every result of the paper's matrix, and MLflow that has all runs as finished."""
    track_in(tmp_path, monkeypatch)
    for name in ("MLFLOW_RUN_ID", "NUCLEUS_WEIGHTS", "NUCLEUS_EXPERIMENTS"):
        monkeypatch.delenv(name, raising=False)
    for cell_line in CELL_LINES:
        for role in ("train", "test"):
            _add_plate(tmp_path, f"{cell_line}_{role}", cell_line, role)
    planned = plan(tmp_path)
    for experiment in find(tmp_path, planned)["experiments"]:
        _store_all(tmp_path, experiment)
    parent = tracking.open_run("experiments", planned["find"]["matrix"], "paper")
    for experiment in planned["find"]["experiments"]:
        run = tracking.open_run("experiments", planned["find"]["matrix"], f"{experiment['name']}, paper", parent)
        tracking.close_run(run, succeeded=True)
    return tmp_path


def plan(store: Path) -> Any:
    form = filled(run_experiments_form(), matrix="paper")
    return run_experiments.plan(form, store, f"asked at {time.monotonic()}")


def find(store: Path, planned: Any) -> dict[str, Any]:
    """Run the task as a process, as Airflow does."""
    arguments = arguments_of("find_experiments", planned["find"], store, store / "receipt.json")
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True)
    return run_experiments.read_found(store, json.loads((store / "receipt.json").read_text())["outputs"]["found"])


def _add_plate(store: Path, name: str, cell_line: str, role: str) -> None:
    folder = store / add_plate(store, name, cell_line, {"f": [1]})
    info = json.loads((folder / "plate.json").read_text())
    (folder / "plate.json").write_text(json.dumps(info | {"role": role}))
    (folder / "report.json").write_text(json.dumps({"frozen_at": "2026-11-01T00:00:00", "fovs": []}))


def _store_all(store: Path, found: Mapping[str, Any]) -> None:
    """Put every result of an experiment into the store."""
    _store(store, f"augment/{found['rois']}", {}, {})
    networks = found["training_keys"]
    for network, training in zip(networks, found["trainings"], strict=True):
        _store(store, network, training, {"network": network})
        (store / network / "network.json").write_text(json.dumps({"method": found["model"]["method"]}))
    model = {**found["model"], "networks": networks}
    calibration = stored(store, calibrate.TASK, model, "calibration", "calibration.csv")
    _change_result(store / Path(calibration).parent, values={"settings": {}})
    segmenting = {"method": model["method"], "networks": networks, "settings": {}}
    for plates in filter(None, found["plates"].values()):
        segmentations = [
            stored(store, segment.TASK, {**segmenting, "plate": plate}, "segmentation") for plate in plates
        ]
        stored(store, score.TASK, {"segmentations": segmentations}, "scores")


def _store(store: Path, path: str, params: dict[str, Any], outputs: dict[str, str]) -> None:
    if not (store / path).exists():
        store_result(store, path, params, outputs)


def _change_result(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(content | changes))


def test_that_nothing_is_to_do_is_seen_within_a_minute(benchmark: BenchmarkFixture, store: Path) -> None:
    took = []

    def ask() -> dict[str, Any]:
        started = time.perf_counter()
        found = find(store, plan(store))
        took.append(time.perf_counter() - started)
        return found

    found = benchmark.pedantic(ask, rounds=3)
    assert len(found["experiments"]) == EXPERIMENTS
    assert run_experiments.to_do(found) == []
    assert max(took) < MOST_SECONDS
